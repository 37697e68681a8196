"""The losses by the names that recipes give them: the one place that a new one is added to."""

from training.losses.activity import Activity
from training.losses.additive import Additive
from training.losses.black_box import BlackBox
from training.losses.codec import Codec
from training.losses.compressed_spectrum import CompressedSpectrum
from training.losses.consistency import Consistency
from training.losses.critic import Critic
from training.losses.deep_clustering import DeepClustering
from training.losses.discriminator import Discriminator
from training.losses.event_classifier import Classifier
from training.losses.loss import Loss
from training.losses.magnitude import Magnitude
from training.losses.metricgan import MetricGan
from training.losses.mixit import Mixit
from training.losses.one_and_rest import OneAndRest
from training.losses.one_minus_estoi import OneMinusEstoi
from training.losses.opinion import Opinion
from training.losses.pesq_proxy import PesqProxyLoss
from training.losses.pit import Pit
from training.losses.quality_net import QualityNetLoss
from training.losses.residual_noise import ResidualNoise
from training.losses.si_sdr import SiSdr
from training.losses.snr import Snr
from training.losses.vocal_interference import VocalInterference

LOSSES: dict[str, type[Loss]] = {
    "snr": Snr,
    "si_sdr": SiSdr,
    "compressed_spectrum": CompressedSpectrum,
    "magnitude": Magnitude,
    "one_minus_estoi": OneMinusEstoi,
    "pesq_proxy": PesqProxyLoss,
    "residual_noise": ResidualNoise,
    "metricgan": MetricGan,
    "vocal_interference": VocalInterference,
    "consistency": Consistency,
    "activity": Activity,
    "pit": Pit,
    "one_and_rest": OneAndRest,
    "mixit": Mixit,
    "additive": Additive,
    "critic": Critic,
    "discriminator": Discriminator,
    "classifier": Classifier,
    "quality_net": QualityNetLoss,
    "opinion": Opinion,
    "black_box": BlackBox,
    "codec": Codec,
    "deep_clustering": DeepClustering,
}
