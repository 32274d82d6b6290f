"""AdamW and the running average of the weights, over all parameters in one pass."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def adamw_kernel(
    addresses, sizes, block_tensor, block_first, decays, groups, scalars, num_tensors, beta1, beta2, eps,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One block of one parameter.

    `addresses` `[5, num_tensors]` int64: parameters, gradients, first and second moments, averages. `scalars`: the two
    bias corrections, the share that the average takes of the new weights, then the step size of each group.
    """
    tensor = tl.load(block_tensor + tl.program_id(0))
    place = tl.load(block_first + tl.program_id(0)) * BLOCK + tl.arange(0, BLOCK)
    active = place < tl.load(sizes + tensor)
    to_float = tl.pointer_type(tl.float32)
    weights = tl.load(addresses + tensor).to(to_float) + place
    grads = tl.load(addresses + num_tensors + tensor).to(to_float) + place
    firsts = tl.load(addresses + 2 * num_tensors + tensor).to(to_float) + place
    seconds = tl.load(addresses + 3 * num_tensors + tensor).to(to_float) + place
    averages = tl.load(addresses + 4 * num_tensors + tensor).to(to_float) + place
    correction1, correction2, share = tl.load(scalars), tl.load(scalars + 1), tl.load(scalars + 2)
    rate = tl.load(scalars + 3 + tl.load(groups + tensor))
    weight = tl.load(weights, mask=active, other=0.0)
    grad = tl.load(grads, mask=active, other=0.0)
    first = tl.load(firsts, mask=active, other=0.0)
    second = tl.load(seconds, mask=active, other=0.0)
    average = tl.load(averages, mask=active, other=0.0)
    first += (1.0 - beta1) * (grad - first)
    second = beta2 * second + (1.0 - beta2) * grad * grad
    weight *= 1.0 - rate * tl.load(decays + tensor)
    weight -= rate / correction1 * first / (tl.sqrt(second / correction2) + eps)
    tl.store(weights, weight, mask=active)
    tl.store(firsts, first, mask=active)
    tl.store(seconds, second, mask=active)
    tl.store(averages, average + share * (weight - average), mask=active)
