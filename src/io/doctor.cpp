#include "seer/doctor.h"

#include <ATen/Parallel.h>
#include <link.h>
#include <torch/version.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>

#include "base/cpu_isa.h"
#include "base/machine.h"
#include "seer/cuda_devices.h"
#include "seer/hub.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kGigabyte = 1'000'000'000;

std::string gigabytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB",
                static_cast<double>(bytes) / static_cast<double>(kGigabyte));
  return text;
}

DoctorFinding processor() {
  DoctorFinding found{"processor", Verdict::kGood, cpu_model() + "; it has the kernel paths ", ""};
  CpuIsa best = CpuIsa::kPortable;
  for (const CpuIsa isa :
       {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16}) {
    if (!cpu_isa_supported(isa)) continue;
    if (isa != CpuIsa::kPortable) found.finding += ", ";
    found.finding += cpu_isa_name(isa);
    best = isa;
  }
  try {
    const CpuIsa used = cpu_isa();
    found.finding += "; used: " + std::string(cpu_isa_name(used));
    if (used != best) {
      found.verdict = Verdict::kNote;
      found.finding += ", as SEER_CPU_ISA says";
      found.fix = "unset SEER_CPU_ISA: " + std::string(cpu_isa_name(best)) + " is faster";
    } else if (best == CpuIsa::kPortable) {
      found.verdict = Verdict::kNote;
      found.fix = "a processor with AVX2 or AVX-512 runs the kernels several times as fast";
    }
  } catch (const std::exception& error) {
    found.verdict = Verdict::kProblem;
    found.finding += std::string("; ") + error.what();
    found.fix = "unset SEER_CPU_ISA, or give it one of these names";
  }
  return found;
}

DoctorFinding threads() {
  const int usable = usable_cpus();
  const int used = at::get_num_threads();
  DoctorFinding found{"threads", Verdict::kGood,
                      std::to_string(used) + " threads by default on " + std::to_string(usable) +
                          " usable processors (the machine has " +
                          std::to_string(std::thread::hardware_concurrency()) + ")",
                      ""};
  if (used > usable) {
    found.verdict = Verdict::kProblem;
    found.fix = "more threads than processors wait for each other: set OMP_NUM_THREADS=" +
                std::to_string(usable) + ", or give --threads";
  } else if (used < (usable + 1) / 2) {
    found.verdict = Verdict::kNote;
    found.fix = "OMP_NUM_THREADS or MKL_NUM_THREADS may be set; --threads " +
                std::to_string(usable) + " uses all processors";
  }
  return found;
}

DoctorFinding memory() {
  const std::uint64_t total = total_memory_bytes();
  const std::uint64_t available = available_memory_bytes();
  if (total == 0)
    return {"memory", Verdict::kNote, "the system does not say how much memory there is", ""};
  DoctorFinding found{"memory", Verdict::kGood,
                      gigabytes(available) + " of " + gigabytes(total) + " are available", ""};
  if (available < 4 * kGigabyte) {
    found.verdict = Verdict::kNote;
    found.fix = "enough for small models: 'seer info --model DIR' tells what a model needs";
  }
  return found;
}

// The files of shared libraries that are loaded, links resolved.
std::vector<std::string> loaded_libraries() {
  std::vector<std::string> files;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* user) {
        if (info->dlpi_name != nullptr && *info->dlpi_name == '/') {
          static_cast<std::vector<std::string>*>(user)->emplace_back(info->dlpi_name);
        }
        return 0;
      },
      &files);
  for (std::string& file : files) {
    std::error_code error;
    const fs::path real = fs::canonical(file, error);
    if (!error) file = real.string();
  }
  return files;
}

DoctorFinding libtorch() {
  DoctorFinding found{"libtorch", Verdict::kGood, "built for " TORCH_VERSION, ""};
  for (const std::string& file : loaded_libraries()) {
    if (fs::path(file).filename().string().starts_with("libtorch_cpu.so"))
      found.finding += ", loaded from " + file;
  }
  if (TORCH_VERSION_MAJOR != 2 || TORCH_VERSION_MINOR < 11 || TORCH_VERSION_MINOR > 13) {
    found.verdict = Verdict::kNote;
    found.fix = "Seer is tested with 2.11 to 2.13: set TORCH_DIR to one of these and build again";
  }
  return found;
}

DoctorFinding openmp() {
  std::set<std::string> runtimes;
  for (const std::string& file : loaded_libraries()) {
    const std::string name = fs::path(file).filename().string();
    for (const std::string_view known : {"libgomp", "libomp", "libiomp"}) {
      if (name.starts_with(known)) runtimes.insert(file);
    }
  }
  std::string names;
  for (const std::string& file : runtimes) names += (names.empty() ? "" : ", ") + file;
  if (runtimes.size() == 1) return {"openmp", Verdict::kGood, "one runtime: " + names, ""};
  if (runtimes.empty()) {
    return {"openmp", Verdict::kNote, "no runtime is loaded: operators run on one thread",
            "build Seer against a LibTorch that brings its OpenMP runtime"};
  }
  return {"openmp", Verdict::kProblem,
          "more than one runtime is loaded, and their threads get into each other's way: " + names,
          "LD_PRELOAD or LD_LIBRARY_PATH may bring the second: unset them, or build Seer again "
          "with 'make build'"};
}

// The value of "Key: value" in a file of /proc/driver/nvidia.
std::string value_in(const fs::path& file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

// What the driver's files say, for a build that cannot ask the GPUs themselves.
DoctorFinding gpu_without_kernels() {
  const fs::path driver = "/proc/driver/nvidia";
  std::error_code error;
  if (!fs::exists(driver, error)) {
    return {"gpu", Verdict::kGood,
            "no NVIDIA driver; this build has no CUDA kernels and runs on the processor", ""};
  }
  std::string names;
  for (const auto& entry : fs::directory_iterator(driver / "gpus", error)) {
    const std::string name = value_in(entry.path() / "information", "Model");
    names += (names.empty() ? "" : ", ") + (name.empty() ? "unknown" : name);
  }
  const std::string version = value_in(driver / "version", "NVRM version");
  return {
      "gpu", Verdict::kNote,
      (names.empty() ? "no GPU" : names) + ", driver: " + (version.empty() ? "unknown" : version) +
          "; this build has no CUDA kernels and runs on the processor",
      names.empty() ? "the driver is loaded and shows no GPU: is one passed into this container?"
                    : "'make cuda' builds with kernels for Hopper GPUs (H100, H200, GH200)"};
}

DoctorFinding gpu() {
  const CudaSupport support = cuda_support();
  if (!support.has_kernels) return gpu_without_kernels();
  if (support.devices.empty()) {
    return {"gpu", Verdict::kNote,
            "none can be used" + (support.problem.empty() ? "" : " (" + support.problem + ")") +
                "; this build has CUDA kernels for Hopper and runs on the processor meanwhile",
            "is a GPU in this machine or passed into this container, and its driver of CUDA 13 "
            "(580 or newer)?"};
  }
  DoctorFinding found{"gpu", Verdict::kGood, "", ""};
  for (std::size_t index = 0; index < support.devices.size(); ++index) {
    const CudaDeviceInfo& device = support.devices[index];
    if (index > 0) found.finding += "; ";
    found.finding += "cuda:" + std::to_string(index) + ": " + device.name +
                     ", compute capability " + std::to_string(device.major) + "." +
                     std::to_string(device.minor) + ", " + gigabytes(device.memory_bytes) + ", " +
                     std::to_string(device.num_multiprocessors) + " multiprocessors, " +
                     (device.runs_kernels ? "runs the kernels" : "does not run the kernels");
    if (device.runs_kernels) continue;
    found.verdict = Verdict::kNote;
    found.fix =
        "the kernels are compiled for compute capability 9.0 (Hopper: H100, H200, GH200); on other "
        "GPUs use --device cpu";
  }
  return found;
}

struct CacheContents {
  std::size_t models = 0;
  std::uint64_t bytes = 0;
  std::size_t incomplete = 0;
  std::uint64_t incomplete_bytes = 0;
  std::size_t dangling = 0;  // links without a file
};

void count_blobs(const fs::path& folder, CacheContents& all) {
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    const std::uintmax_t size = at->file_size(ignored);
    if (ignored) continue;
    const bool incomplete = at->path().extension() == ".incomplete";
    all.incomplete += incomplete ? 1 : 0;
    (incomplete ? all.incomplete_bytes : all.bytes) += size;
  }
}

void count_dangling(const fs::path& folder, CacheContents& all) {
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    std::error_code ignored;
    if (at->is_symlink(ignored) && !fs::exists(at->path(), ignored)) ++all.dangling;
  }
}

CacheContents contents_of(const fs::path& cache) {
  CacheContents all;
  std::error_code error;
  for (fs::directory_iterator at(cache, error), end; !error && at != end; at.increment(error)) {
    if (!at->path().filename().string().starts_with("models--")) continue;
    ++all.models;
    count_blobs(at->path() / "blobs", all);
    count_dangling(at->path() / "snapshots", all);
  }
  return all;
}

// The folder itself, or the nearest one above it that there is.
fs::path existing_part(fs::path folder) {
  std::error_code error;
  folder = fs::absolute(folder, error);
  while (!fs::exists(folder, error) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

DoctorFinding cache_folder(const fs::path& cache, const fs::path& there) {
  std::error_code error;
  if (!fs::is_directory(there, error)) {
    return {"cache", Verdict::kProblem,
            cache.string() + " cannot be made: " + there.string() + " is no folder",
            "set HF_HUB_CACHE or HF_HOME to another folder"};
  }
  if (::access(there.c_str(), W_OK | X_OK) != 0) {
    return {"cache", Verdict::kProblem,
            there.string() + " may not be written, so nothing can be pulled",
            "change its permissions, or set HF_HUB_CACHE or HF_HOME to another folder"};
  }
  if (there != fs::absolute(cache, error)) {
    return {"cache", Verdict::kGood, cache.string() + " is made by the first 'seer pull'", ""};
  }
  const CacheContents contents = contents_of(cache);
  DoctorFinding found{"cache", Verdict::kGood,
                      cache.string() + " holds " + gigabytes(contents.bytes) +
                          "; models: " + std::to_string(contents.models),
                      ""};
  if (contents.incomplete > 0) {
    found.verdict = Verdict::kNote;
    found.finding += "; interrupted downloads: " + std::to_string(contents.incomplete) + ", " +
                     gigabytes(contents.incomplete_bytes);
    found.fix =
        "'seer pull' goes on with them; or delete models--*/blobs/*.incomplete in the cache";
  }
  if (contents.dangling > 0) {
    found.verdict = Verdict::kProblem;
    found.finding += "; names of files that are gone: " + std::to_string(contents.dangling);
    found.fix =
        "run 'seer pull' for these models again, or delete their folders models--* in the cache";
  }
  return found;
}

DoctorFinding disk(const fs::path& there) {
  std::error_code error;
  const fs::space_info space = fs::space(there, error);
  if (error)
    return {"disk", Verdict::kNote,
            there.string() + ": the free space is unknown: " + error.message(), ""};
  DoctorFinding found{"disk", Verdict::kGood,
                      gigabytes(space.available) + " are free for the cache", ""};
  if (space.available < 20 * kGigabyte) {
    found.verdict = Verdict::kNote;
    found.fix =
        "a model of 8 billion parameters takes 16 GB: make room, or set HF_HUB_CACHE to a larger "
        "disk";
  }
  return found;
}

DoctorFinding hub(const HubSettings& settings) {
  DoctorFinding found{
      "hub", Verdict::kGood,
      settings.endpoint + (settings.token.empty() ? ", without a token" : ", with a token"), ""};
  if (settings.offline) {
    found.verdict = Verdict::kNote;
    found.finding += "; HF_HUB_OFFLINE is set, so nothing is pulled";
    found.fix = "unset HF_HUB_OFFLINE to pull models";
  } else if (!settings.endpoint.starts_with("https://")) {
    found.verdict = Verdict::kNote;
    found.finding += "; it is not encrypted";
    found.fix = "set HF_ENDPOINT to an address with https://";
  } else if (settings.token.empty()) {
    found.finding += " (gated models, such as Llama, need one: set HF_TOKEN)";
  }
  return found;
}

}  // namespace

const char* verdict_name(Verdict verdict) {
  static constexpr const char* kNames[] = {"good", "note", "problem"};
  return kNames[static_cast<int>(verdict)];
}

std::vector<DoctorFinding> examine_machine() {
  std::vector<DoctorFinding> all = {processor(), threads(), memory(), libtorch(), openmp(), gpu()};
  try {
    const HubSettings settings = hub_settings();
    const fs::path there = existing_part(settings.cache);
    all.push_back(cache_folder(settings.cache, there));
    all.push_back(disk(there));
    all.push_back(hub(settings));
  } catch (const std::exception& error) {
    all.push_back(
        {"hub", Verdict::kProblem, error.what(), "correct HF_TOKEN or the file, or remove both"});
  }
  return all;
}

}  // namespace seer
