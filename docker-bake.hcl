# docker buildx bake --push: the images for x86-64 and ARM64, to be run by any engine. On one
# server, `docker compose build` builds for that server.

variable "REGISTRY" {
  default = "keraport"
}

variable "TAG" {
  default = "latest"
}

group "default" {
  targets = ["app", "nginx", "acme", "models-sync"]
}

target "both" {
  platforms = ["linux/amd64", "linux/arm64"]
}

target "app" {
  inherits = ["both"]
  context  = "."
  tags     = ["${REGISTRY}/app:${TAG}"]
}

target "nginx" {
  inherits = ["both"]
  context  = "nginx"
  tags     = ["${REGISTRY}/nginx:${TAG}"]
}

target "acme" {
  inherits = ["both"]
  context  = "nginx/acme"
  tags     = ["${REGISTRY}/acme:${TAG}"]
}

target "models-sync" {
  inherits   = ["both"]
  context    = "."
  dockerfile = "deploy/sync/Dockerfile"
  tags       = ["${REGISTRY}/models-sync:${TAG}"]
}

# TensorFlow's build for CUDA is for x86-64: docker buildx bake app-gpu
target "app-gpu" {
  context = "."
  args    = { LOCK = "requirements-gpu.lock" }
  tags    = ["${REGISTRY}/app:${TAG}-gpu"]
}
