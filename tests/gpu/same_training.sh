#!/usr/bin/env bash
# Five steps in float64 are the same training on a GPU as on the CPU, and on two ranks as on one.
#   same_training.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for kind in batch sync_batch ghost_batch group; do
  options=("model.norm.kind=$kind" train.precision=float64)
  [[ $kind != ghost_batch ]] || options+=(model.norm.virtual_batch=8)
  train 1 "host_$kind" run.device=cpu "${options[@]}"
  on_device 1 "device_$kind" "${options[@]}"
  for what in losses weights; do same $what "host_$kind" "device_$kind" 1e-10; done
  # Batch statistics of a rank's own samples are others on two ranks; virtual batches of 8 are not.
  [[ $kind != batch ]] || continue
  on_device 2 "two_$kind" "${options[@]}"
  for what in losses weights; do same $what "device_$kind" "two_$kind" 1e-10; done
done
