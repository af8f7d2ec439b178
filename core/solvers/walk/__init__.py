"""Samplers that are no table: their steps depend on what they see, as plain generators."""
