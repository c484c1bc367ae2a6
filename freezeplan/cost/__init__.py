"""What a plan costs before it runs: bytes and FLOPs per phase, from the model on tensors that hold nothing."""
