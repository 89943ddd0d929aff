"""gantrain: what does this objective do to my GAN?"""

__version__ = "0.1.0"
