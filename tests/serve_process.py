"""The API on a Ray cluster: `python -m tests.serve_process HOME PORT`, until stdin ends."""

import sys
from pathlib import Path

from ray import serve

from ray_pipeline.actors import deploy
from ray_pipeline.api.deployment import NAME, app
from ray_pipeline.settings import load

home, port = Path(sys.argv[1]), int(sys.argv[2])
try:
    deploy.start_ray(load(), home=home)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(app, name=NAME)
    print("serving", flush=True)
    sys.stdin.read()
    serve.shutdown()
finally:
    deploy.stop_ray()
