"""visionweave composes vision models into typed pipelines.

import visionweave as vw

pipeline = vw.Pipeline.load("objects-to-3d")
result = pipeline.run(photo="street.jpg")

The public names are listed in `__init__.pyi`; each is imported when it is first used, so that
`import visionweave` and the command line start fast.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
