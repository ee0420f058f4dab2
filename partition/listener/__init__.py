"""The set-up of every gRPC server: limits, tokens, time-outs."""
