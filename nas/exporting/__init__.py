"""Files for a product: ONNX in float32 and int8, with what whoever runs them must know inside."""
