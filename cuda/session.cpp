// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <algorithm>

namespace ss1::cuda {

session_memory::~session_memory() {
    const device_scope scope(device);
    if (stream) cudaStreamDestroy(stream);
    if (on_device) cudaFree(on_device);
    if (pinned) cudaFreeHost(pinned);
}

ss1_status session_memory::allocate(int on, size_t device_bytes, size_t pinned_bytes) {
    device = on;
    pool = scratch_pool(on);
    SS1_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    SS1_CUDA(cudaMalloc(&on_device, std::max<size_t>(device_bytes, 1)));
    SS1_CUDA(cudaMemsetAsync(on_device, 0, device_bytes, stream));
    SS1_CUDA(cudaStreamSynchronize(stream));
    SS1_CUDA(cudaMallocHost(&pinned, std::max<size_t>(pinned_bytes, 1)));
    return SS1_OK;
}

graph_cache::~graph_cache() {
    for (const entry &e : entries_)
        if (e.graph) cudaGraphExecDestroy(e.graph);
}

graph_cache::entry &graph_cache::find(const key &shape) {
    auto at = std::find_if(entries_.begin(), entries_.end(), [&](const entry &e) { return e.shape == shape; });
    if (at == entries_.end() && entries_.size() < most) {
        entries_.push_back({shape, false, 0, nullptr});
        at = entries_.end() - 1;
    } else if (at == entries_.end()) {
        at = std::min_element(entries_.begin(), entries_.end(),
                              [](const entry &a, const entry &b) { return a.used < b.used; });
        if (at->graph) cudaGraphExecDestroy(at->graph);
        *at = {shape, false, 0, nullptr};
    }
    at->used = ++clock_;
    return *at;
}

bool graph_cache::end_capture(entry &e, cudaStream_t stream, bool queued) {
    cudaGraph_t graph = nullptr;
    const bool ended = cudaStreamEndCapture(stream, &graph) == cudaSuccess;
    if (ended && queued && cudaGraphInstantiate(&e.graph, graph, 0) != cudaSuccess) e.graph = nullptr;
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    return e.graph != nullptr;
}

}  // namespace ss1::cuda
