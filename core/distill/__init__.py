"""Distillation objectives as plain functions; `lit/` and the rooms turn them into training modules."""
