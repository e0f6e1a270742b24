"""RunPod: REST v2 for pods, catalogue and bills; GraphQL for what v2 lacks (docs/runpod.md)."""
