"""Post-training quantisation: float graphs and calibration samples in, quantised graphs out.

docs/internals/quantization.md says what the modules do and how they follow each other;
`post_training.quantize_model` runs them all.
"""
