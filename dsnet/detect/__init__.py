"""The detector: torchvision's Faster R-CNN with channel attention in its backbone."""
