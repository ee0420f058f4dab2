"""A network in stages on several devices; frames travel from stage to stage over gRPC."""
