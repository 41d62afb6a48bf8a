"""Losses over nested prefixes, drop-in for SentenceTransformerTrainer.

Each takes the place of MatryoshkaLoss around a loss of Sentence Transformers and computes the same,
in one pass over the embeddings instead of one for each dim. Any other loss goes through
MatryoshkaLoss as it is. Importing this loads PyTorch and Sentence Transformers.
"""

from nestvec.train.pair_losses import NestedCoSENTLoss, NestedTripletLoss
from nestvec.train.ranking_loss import NestedMultipleNegativesRankingLoss

__all__ = ["NestedCoSENTLoss", "NestedMultipleNegativesRankingLoss", "NestedTripletLoss"]
