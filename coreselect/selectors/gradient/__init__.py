"""Methods that rank the training gradients of single examples, or match their sum."""
