"""DVFO's attention: channels kept on the edge or sent, and the fusion of both answers.

`select`, `table` and `runtime` are what a board and the environment use; they need no torch.
`modules`, `torch_split`, `training`, `evaluation` and `rankings` train and judge and need it.

Terms: xi is the share of a cut tensor's channels that is sent, least important first; xi = 1 is
classic split computing, xi = 0 sends nothing. Edge and cloud each give logits, and the answer is
`lambda * edge + (1 - lambda) * cloud`.

What DVFO (arXiv 2306.01811) leaves open and how it is decided here:

- *Importance* is the channel score of a spatial-channel attention module (form as in CBAM,
  arXiv 1807.06521), per input, trained through a straight-through mask so that the fused answer is
  best over all xi.
- The head stays as it was, so that every other cut and the unsplit network stay valid; attention,
  light branch and a copy of the tail are trained per cut, for all xi at once (xi is drawn per
  image, bits per batch), with labels and the unsplit network's logits as targets.
- The edge's branch sees the kept channels times channel and spatial attention. The cloud gets raw
  channels: with all of them and before any training its answer is the classic one.
- Quantisation is per channel, affine, with range per input; a channel below 32 values shares one
  range with all others of its message.
- lambda comes from validation images, per cut, xi and bits.
"""
