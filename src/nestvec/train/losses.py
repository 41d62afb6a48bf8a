"""Losses over nested prefixes for SentenceTransformerTrainer.

Each loss replaces MatryoshkaLoss around a loss of Sentence Transformers. The value is the same, but
one pass over the embeddings is enough for all dims. Use MatryoshkaLoss for any other loss.
Importing this module loads PyTorch and Sentence Transformers.
"""

from nestvec.train.pair_losses import NestedCoSENTLoss, NestedTripletLoss
from nestvec.train.ranking_loss import NestedMultipleNegativesRankingLoss

__all__ = ["NestedCoSENTLoss", "NestedMultipleNegativesRankingLoss", "NestedTripletLoss"]
