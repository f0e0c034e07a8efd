"""Every field of a configuration, with its default; the variants override it.

Run from the repository's root, and override any field on the command line:

  python -m srgan_jax.main --config=configs/vgg54.py --config.seed=1
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  """The paper's recipe (section 3.2) as far as all its variants share it."""
  config = ConfigDict()

  # Decides the initial weights and, with the step, every crop.
  config.seed = 0
  # HR crops in a batch, over all devices of all processes together.
  config.batch_size = 16
  # Side of an HR crop in pixels; a multiple of 16, which D halves four times.
  config.crop_size = 96
  # What the networks compute in: 'bfloat16', 'float32', or 'auto': bfloat16 on
  # accelerators and float32 on CPU. Parameters, batch statistics, losses and
  # updates are float32 always.
  config.precision = 'auto'
  # Batch normalisation over the 'global' batch, or 'per_device': over each
  # device's part of it, which saves the devices most of their talk.
  config.batch_norm = 'global'
  # Decay of the moving average of G that is exported, e.g. 0.999; 0: none.
  config.ema_decay = 0.0
  # A trained generator to start the GAN stage from (`.safetensors`), e.g. the
  # `generator_pretrain.safetensors` of another run; SRResNet is not trained.
  config.init_generator = ''
  # A discriminator for the GAN stage to go on against, e.g. the
  # `discriminator.safetensors` of another run; '': from random weights.
  config.init_discriminator = ''
  # Train the GAN stage from random weights, which the paper advises against.
  config.allow_random_generator = False

  config.model = ConfigDict()
  # Residual blocks and feature maps of the generator.
  config.model.blocks = 16
  config.model.channels = 64
  # The generator's initial weights: 'small' (PyTorch's, and a trunk that starts
  # at 0), 'icnr' (that, and sub-pixel layers without a checkerboard) or 'he'.
  # The paper says nothing; see models/generator.py.
  config.model.init = 'small'
  # The sums of the residual blocks and over all of them; False: a plain chain
  # of the same convolutions (figure 7, tools/depth_sweep.py).
  config.model.skip_connections = True
  # Feature maps of the discriminator's first convolution.
  config.model.discriminator_channels = 64

  config.stages = ConfigDict()
  # The SRResNet stage: G alone on its content loss.
  config.stages.pretrain = ConfigDict()
  config.stages.pretrain.steps = 1_000_000
  # The rate, or with a schedule its peak.
  config.stages.pretrain.learning_rate = 1e-4
  # 'constant', or 'cosine': decays to 0 over the stage.
  config.stages.pretrain.schedule = 'constant'
  # Updates of linear warm-up.
  config.stages.pretrain.warmup = 0
  # 'mse', 'vgg22' or 'vgg54': the content loss l_X. 'consistent': the MSE to
  # what back-projection makes of the SR of `init_generator` (configs/
  # consistent.py).
  config.stages.pretrain.content = 'mse'
  # A trained generator to go on from, with fresh optimizer moments; '': none.
  config.stages.pretrain.init_generator = ''
  # The GAN stage: D and G in turns, from SRResNet-MSE's weights.
  config.stages.gan = ConfigDict()
  config.stages.gan.steps = 200_000
  config.stages.gan.learning_rate = 1e-4
  # Updates of linear warm-up.
  config.stages.gan.warmup = 0
  # Updates after which the rate falls to a tenth.
  config.stages.gan.boundaries = (100_000,)
  config.stages.gan.content = 'vgg54'
  # Normalise G by the statistics that it came with, frozen, as it will be used;
  # False: by each batch's own, as the paper (docs/trials.md compares them).
  config.stages.gan.freeze_batch_norm = False

  config.loss = ConfigDict()
  # Equation 5 divides by W*H ('sum_channels'); most code by everything
  # ('mean'), which is as many times smaller as the layer has channels.
  config.loss.content_reduction = 'mean'
  # Of the mean squared error beside a VGG content loss. The paper has none; in
  # runs of few updates it holds colours and contrast (docs/training.md).
  config.loss.pixel_weight = 0.0
  # Of the adversarial loss, in equation 3.
  config.loss.adversarial_weight = 1e-3
  # Of the total variation in the SRResNet stage; the paper's SRResNet-VGG22
  # alone has it.
  config.loss.tv_weight = 0.0

  config.perceptual = ConfigDict()
  # The VGG file for 'vgg22' and 'vgg54': tools/convert_vgg.py makes it.
  config.perceptual.weights = 'vgg19.safetensors'
  # The layer compared; '' is the paper's: for 'vgg22' conv2_2, for 'vgg54' the
  # last before the fifth pooling (conv5_4 of VGG19, conv5_3 of VGG16).
  config.perceptual.layer = ''

  config.data = ConfigDict()
  # Training images: 'tfds:NAME[:SPLIT]', 'folder:DIR' or 'tar:GLOB'.
  config.data.source = 'tfds:imagenet2012'
  # Larger images are left out, as are those smaller than a crop.
  config.data.max_megapixels = 100.0
  # How batches reach the device: 'tfdata' reads and cuts crops on the host;
  # 'resident' keeps all images on the device, decoded, and cuts them there (no
  # TensorFlow needed). Both give the same crops.
  config.data.loader = 'tfdata'
  # Where resident images lie: 'replicated' on every device, 'sharded' over
  # them, or 'auto': replicated where half of a device's memory holds them.
  config.data.placement = 'auto'
  # HR images to validate on, in the same notation; or 'hold-out:N', N of the
  # training images, on which the run then does not train; '' is none.
  config.data.validation = ''
  # Weights of LPIPS (tools/convert_lpips.py) to validate with as well.
  config.data.lpips = ''
  # How LR crops are made: 'bicubic', the paper's exact resize, or 'photo': with
  # the blur, noise and JPEG compression of photos (data/degradation.py).
  config.data.degradation = 'bicubic'
  # RAM for decoded training images, in GiB ('tfdata').
  config.data.cache_gib = 4.0
  # Steps in a row that cut the same images at other places. More than 1 saves
  # decoding where the images fit neither the cache nor the device; the price is
  # batches that resemble each other.
  config.data.crops_per_image = 1
  # Random flips and quarter turns.
  config.data.augment = True

  config.distributed = ConfigDict()
  # On TPU pods and under SLURM: 'auto'. By hand: the first process's
  # 'host:port', the number of processes and this one's number. '' is one
  # process.
  config.distributed.coordinator = ''
  config.distributed.processes = 1
  config.distributed.process = 0

  # Updates in one call of the compiled program. More than 1 keeps a device busy
  # whose step takes only milliseconds; a stop signal waits for the call's end.
  config.steps_per_call = 1
  # What a run goes on from: its 'newest' checkpoint, and is refused where that
  # is damaged; or the newest 'whole' one, setting damaged ones aside.
  config.resume = 'newest'
  # In steps: checkpoints, lines of metrics, and validation with sample images.
  config.save_every = 5_000
  config.log_every = 100
  config.validate_every = 5_000
  # The validation figure by which the best generator of a stage is kept as well
  # (`generator_pretrain_best.safetensors`, `generator_best.safetensors`):
  # 'psnr_y', 'lpips_alex', ...; '': none is.
  config.keep_best_by = ''

  return config
