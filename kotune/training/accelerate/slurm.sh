#!/bin/bash
# NOT RUN: written from the documentation of Slurm and accelerate; nobody has seen it work (docs/not_run.md).
#
#   sbatch --nodes 2 --gpus-per-node 4 kotune/training/accelerate/slurm.sh fsdp.yaml sft --recipe gemma-2b-l4 --train_dataset my.jsonl
#
# The first argument is a file of this folder, the others are those of `kotune`. Run it in the repository's folder, which
# every machine sees, with the environment active: the same command as on one machine, once on each.
#SBATCH --job-name=kotune
#SBATCH --ntasks-per-node=1
#SBATCH --output=outputs/slurm-%j.log
set -euo pipefail

config=kotune/training/accelerate/$1
shift
export MAIN_ADDRESS MAIN_PORT
hostnames=$(scontrol show hostnames "$SLURM_JOB_NODELIST") # no pipe into head: where that ends first, pipefail ends the job
MAIN_ADDRESS=${hostnames%%$'\n'*}
MAIN_PORT=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on one machine have two ports

# SLURM_NODEID is known on each machine alone, so that bash there writes the line
srun bash -c '
  accelerate launch --config_file "$0" \
    --num_machines "$SLURM_JOB_NUM_NODES" --machine_rank "$SLURM_NODEID" \
    --num_processes $((SLURM_JOB_NUM_NODES * SLURM_GPUS_ON_NODE)) \
    --main_process_ip "$MAIN_ADDRESS" --main_process_port "$MAIN_PORT" \
    -m kotune "$@"
' "$config" "$@"
