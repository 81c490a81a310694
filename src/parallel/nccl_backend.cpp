#include "parallel/nccl_backend.h"

#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <nccl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <thread>
#include <utility>

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::minutes kPatience(30);  // as of Gloo's sums
constexpr std::chrono::minutes kStartPatience(5);
constexpr std::chrono::microseconds kPause(20);  // between two questions whether something is done
constexpr int kOldestVersion = NCCL_VERSION(2, 14, 0);  // the first with ncclCommInitRankConfig
constexpr const char* kLibraryName = "libnccl.so.2";
constexpr const char* kIdKey = "seer/nccl_id";

std::string version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

// What is used of the library. A program that is linked to it would not start without it, on a machine without GPUs too.
struct Library {
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRankConfig) comm_init_rank_config;
  decltype(&ncclCommGetAsyncError) comm_get_async_error;
  decltype(&ncclCommAbort) comm_abort;
  decltype(&ncclGetErrorString) get_error_string;
  decltype(&ncclGetLastError) get_last_error;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclBroadcast) broadcast;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;
  int version = 0;

  // A CUDA build of LibTorch has loaded it already, and this finds the same one.
  Library() {
    void* handle = dlopen(kLibraryName, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* error = dlerror();
      throw std::runtime_error(fmt::format(
          "{} cannot be loaded ({}): install the package nvidia-nccl-cu13 where LibTorch finds it, "
          "or name its folder in LD_LIBRARY_PATH",
          kLibraryName, error == nullptr ? "no reason given" : error));
    }
    find(handle, "ncclGetVersion", get_version);
    get_version(&version);
    if (version < kOldestVersion) {
      throw std::runtime_error(fmt::format("{} is NCCL {}: expected {} or newer", kLibraryName,
                                           version_text(version), version_text(kOldestVersion)));
    }
    find(handle, "ncclGetUniqueId", get_unique_id);
    find(handle, "ncclCommInitRankConfig", comm_init_rank_config);
    find(handle, "ncclCommGetAsyncError", comm_get_async_error);
    find(handle, "ncclCommAbort", comm_abort);
    find(handle, "ncclGetErrorString", get_error_string);
    find(handle, "ncclGetLastError", get_last_error);
    find(handle, "ncclAllReduce", all_reduce);
    find(handle, "ncclAllGather", all_gather);
    find(handle, "ncclBroadcast", broadcast);
    find(handle, "ncclGroupStart", group_start);
    find(handle, "ncclGroupEnd", group_end);
  }

  template <typename Function>
  static void find(void* handle, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(handle, name));
    if (function == nullptr)
      throw std::runtime_error(fmt::format("{} has no function {}", kLibraryName, name));
  }

  static const Library& get() {
    static const Library library;
    return library;
  }
};

ncclDataType_t type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble: return ncclFloat64;
    case at::kFloat: return ncclFloat32;
    case at::kHalf: return ncclFloat16;
    case at::kBFloat16: return ncclBfloat16;
    case at::kLong: return ncclInt64;
    case at::kInt: return ncclInt32;
    default: break;
  }
  throw std::invalid_argument(
      fmt::format("NCCL sends no tensors of {} here", c10::toString(tensor.scalar_type())));
}

class Communicator final : public NcclBackend {
 public:
  Communicator(Heartbeat& heartbeat, int rank, int size, c10::Device device)
      : nccl_(Library::get()), heartbeat_(heartbeat), rank_(rank), size_(size), device_(device) {}

  // Aborting waits for nobody, unlike destroying: the first process calibrates gates when the others have ended. The
  // GPU is done with every call by then.
  ~Communicator() override { abort(); }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  void connect(c10d::Store& store) {
    const c10::DeviceGuard guard(device_);
    // NCCL takes the GPU that is current to the driver, which it is once something has run there.
    at::zeros({1}, at::TensorOptions(device_));
    ncclUniqueId id = exchange_id(store);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    check(nccl_.comm_init_rank_config(&communicator_, size_, id, rank_, &config));
    wait(kStartPatience, [&] { return is_settled(); });
  }

  std::string version() const override { return version_text(nccl_.version); }
  c10::Device device() const override { return device_; }

  void sum(const at::Tensor& tensor) override {
    run([&](cudaStream_t stream) {
      void* data = tensor.mutable_data_ptr();
      check(nccl_.all_reduce(data, data, count_of(tensor), type_of(tensor), ncclSum, communicator_,
                             stream));
    });
  }

  void broadcast(const at::Tensor& tensor, int from) override {
    run([&](cudaStream_t stream) {
      void* data = tensor.mutable_data_ptr();
      check(nccl_.broadcast(data, data, count_of(tensor), type_of(tensor), from, communicator_,
                            stream));
    });
  }

  void complete(const at::Tensor& flat, const std::vector<ProcessGroup::Share>& shares) override {
    run([&](cudaStream_t stream) {
      if (flat.size(0) % size_ == 0) {
        const at::Tensor own = flat.chunk(size_)[static_cast<std::size_t>(rank_)];
        check(nccl_.all_gather(own.const_data_ptr(), flat.mutable_data_ptr(), count_of(own),
                               type_of(flat), communicator_, stream));
        return;
      }
      // Unequal shares: as many broadcasts, which NCCL runs together. A group that was begun is ended, come what may.
      const ncclDataType_t type = type_of(flat);
      check(nccl_.group_start());
      ncclResult_t result = ncclSuccess;
      for (int from = 0; from < size_; ++from) {
        const auto& [first, count] = shares[static_cast<std::size_t>(from)];
        if (count == 0 || (result != ncclSuccess && result != ncclInProgress)) continue;
        void* data = flat.narrow(0, first, count).mutable_data_ptr();
        result = nccl_.broadcast(data, data, static_cast<std::size_t>(count), type, from,
                                 communicator_, stream);
      }
      const ncclResult_t ended = nccl_.group_end();
      check(result);
      check(ended);
    });
  }

 private:
  static std::size_t count_of(const at::Tensor& tensor) {
    return static_cast<std::size_t>(tensor.numel());
  }

  // The first process's, by which the others find it.
  ncclUniqueId exchange_id(c10d::Store& store) {
    ncclUniqueId id;
    if (rank_ == 0) {
      check(nccl_.get_unique_id(&id));
      store.set(kIdKey, std::vector<std::uint8_t>(std::begin(id.internal), std::end(id.internal)));
      return id;
    }
    wait(kStartPatience, [&] { return store.check({kIdKey}); });
    const std::vector<std::uint8_t> bytes = store.get(kIdKey);
    if (bytes.size() != sizeof id.internal)
      throw std::runtime_error("rank 0 uses another version of NCCL");
    std::memcpy(id.internal, bytes.data(), bytes.size());
    return id;
  }

  // Throws where a call went wrong, which ncclInProgress does not say.
  void check(ncclResult_t result) const {
    if (result == ncclSuccess || result == ncclInProgress) return;
    const char* detail = nccl_.get_last_error(communicator_);
    throw std::runtime_error(fmt::format("NCCL {}: {} ({})", version(),
                                         nccl_.get_error_string(result),
                                         detail == nullptr || *detail == 0 ? "no detail" : detail));
  }

  // Whether what was asked of the communicator has been begun on the stream.
  bool is_settled() const {
    ncclResult_t state = ncclSuccess;
    check(nccl_.comm_get_async_error(communicator_, &state));
    check(state);
    return state != ncclInProgress;
  }

  void wait(std::chrono::minutes patience, const std::function<bool()>& is_done) const {
    LossWatch watch(heartbeat_);
    const Clock::time_point end = Clock::now() + patience;
    while (!is_done()) {
      if (const std::string lost = watch.look(); !lost.empty()) throw LostRank(lost);
      if (Clock::now() > end)
        throw std::runtime_error(fmt::format("NCCL: no answer within {} min", patience.count()));
      std::this_thread::sleep_for(kPause);
    }
  }

  void run(const std::function<void(cudaStream_t)>& begin) {
    if (communicator_ == nullptr) throw std::runtime_error("NCCL: an earlier call failed");
    const c10::DeviceGuard guard(device_);
    try {
      const c10::Stream stream =
          c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(device_);
      begin(static_cast<cudaStream_t>(stream.native_handle()));
      wait(kPatience, [&] { return is_settled(); });
      c10::Event done(c10::DeviceType::CUDA);
      done.record(stream);
      wait(kPatience, [&] { return is_settled() && done.query(); });
    } catch (...) {
      abort();  // ends what runs on the GPU
      throw;
    }
  }

  void abort() noexcept {
    if (communicator_ != nullptr) nccl_.comm_abort(std::exchange(communicator_, nullptr));
  }

  const Library& nccl_;
  Heartbeat& heartbeat_;
  int rank_, size_;
  c10::Device device_;
  ncclComm_t communicator_ = nullptr;
};

}  // namespace

void set_nccl_defaults() {
  // Sums inside NVLink's switches (NVLS) are the only ones whose order changes from call to call.
  if (std::getenv("NCCL_ALGO") == nullptr) setenv("NCCL_NVLS_ENABLE", "0", /*overwrite=*/0);
}

std::unique_ptr<NcclBackend> connect_nccl(c10d::Store& store, Heartbeat& heartbeat, int rank,
                                          int size, c10::Device device) {
  auto communicator = std::make_unique<Communicator>(heartbeat, rank, size, device);
  communicator->connect(store);
  return communicator;
}

}  // namespace seer
