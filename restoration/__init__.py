"""Image restoration in few steps: super-resolution, denoising, deblurring, inpainting."""
