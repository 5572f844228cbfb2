"""Ready pipelines, one YAML file each; `visionweave pipelines` lists them."""
