"""English text to the tokens of the speech models: `frontend.phonemize` and what it stands on."""
