#include "finetune/model_folder.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <utility>

#include "base/json.h"
#include "io/safetensors_writer.h"
#include "io/whole_folder.h"
#include "seer/text_file.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr std::uint64_t kShardBytes = 5'000'000'000;

// What belongs to a model besides its weights and its configuration.
constexpr std::array kCompanions = {"tokenizer.json",     "tokenizer_config.json",
                                    "tokenizer.model",    "special_tokens_map.json",
                                    "added_tokens.json",  "vocab.json",
                                    "merges.txt",         "chat_template.jinja",
                                    "chat_template.json", "generation_config.json"};

struct StoredType {
  const char* safetensors;
  const char* config;
};
StoredType stored_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat: return {"F32", "float32"};
    case at::kBFloat16: return {"BF16", "bfloat16"};
    case at::kHalf: return {"F16", "float16"};
    default: TORCH_CHECK(false, "model folder: no dtype of a file: ", dtype);
  }
}

void write_text(const fs::path& file, const std::string& text) {
  OutputFile out(file);
  out.write(text);
  out.finish();
}

// Fields of a scaled RoPE, as transformers has them.
void set_rope(const ModelConfig& model, const RopeScaling& scaling, OrderedJson& fields) {
  fields["factor"] = scaling.factor;
  switch (scaling.kind) {
    case RopeKind::kYarn: fields["rope_type"] = "yarn"; break;
    case RopeKind::kLinear: fields["rope_type"] = "linear"; return;
    case RopeKind::kLlama3:
      fields["rope_type"] = "llama3";
      fields["low_freq_factor"] = model.rope.low_freq_factor;
      fields["high_freq_factor"] = model.rope.high_freq_factor;
      break;
    case RopeKind::kDefault: throw std::logic_error("set_rope: expected a scaling");
  }
  fields["original_max_position_embeddings"] = model.rope.original_max_positions;
}

void write_shard(const fs::path& file, std::span<const FlatWeights::Named> tensors,
                 const char* dtype) {
  std::vector<at::Tensor> host;  // what the inputs look at
  std::vector<SafetensorsInput> inputs;
  for (const FlatWeights::Named& tensor : tensors) {
    host.push_back(tensor.value.detach().contiguous().cpu());
    inputs.push_back({tensor.name, dtype, tensor.value.sizes().vec(),
                      std::span(static_cast<const std::byte*>(host.back().const_data_ptr()),
                                static_cast<std::size_t>(host.back().nbytes()))});
  }
  OutputFile out(file);
  write_safetensors(out, inputs);
  out.finish();
}

void write_weights(const fs::path& folder, const std::vector<FlatWeights::Named>& tensors,
                   at::ScalarType dtype) {
  const StoredType type = stored_type(dtype);
  std::vector<std::size_t> begins = {0};
  std::uint64_t total = 0, in_shard = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto bytes = static_cast<std::uint64_t>(tensors[i].value.nbytes());
    if (in_shard > 0 && in_shard + bytes > kShardBytes) {
      begins.push_back(i);
      in_shard = 0;
    }
    in_shard += bytes;
    total += bytes;
  }
  if (begins.size() == 1) {
    write_shard(folder / "model.safetensors", tensors, type.safetensors);
    return;
  }
  OrderedJson map = OrderedJson::object();
  for (std::size_t shard = 0; shard < begins.size(); ++shard) {
    const std::size_t end = shard + 1 < begins.size() ? begins[shard + 1] : tensors.size();
    const std::string name =
        fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, begins.size());
    const auto part = std::span(tensors).subspan(begins[shard], end - begins[shard]);
    write_shard(folder / name, part, type.safetensors);
    for (const FlatWeights::Named& tensor : part) map[tensor.name] = name;
  }
  const OrderedJson index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  write_text(folder / "model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace

std::string trained_config_json(const std::string& source_json, const std::string& source,
                                const ModelConfig& model, const std::optional<RopeScaling>& scaling,
                                at::ScalarType dtype) {
  parse_json(source_json, source);  // strictly; the other parser keeps the order of the fields
  OrderedJson config = OrderedJson::parse(source_json);
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = stored_type(dtype).config;
  if (scaling) {
    config["max_position_embeddings"] = model.max_positions;
    const bool is_new = config.contains("rope_parameters") && config["rope_parameters"].is_object();
    OrderedJson& rope = config[is_new ? "rope_parameters" : "rope_scaling"];
    if (is_new) {
      OrderedJson& of_attention =
          rope.contains("full_attention") && rope["full_attention"].is_object()
              ? rope["full_attention"]
              : rope;
      set_rope(model, *scaling, of_attention);
      config.erase("rope_scaling");
    } else {
      rope = OrderedJson::object();
      set_rope(model, *scaling, rope);
    }
  }
  return config.dump(2) + "\n";
}

void check_model_output(const std::filesystem::path& out) {
  const WholeFolder probe(out, {});
}

void write_model_folder(const std::filesystem::path& source, const ModelConfig& model,
                        const std::optional<RopeScaling>& scaling,
                        const std::vector<FlatWeights::Named>& tensors, at::ScalarType dtype,
                        const GateSet* gates, const std::filesystem::path& out) {
  WholeFolder whole(out, {});
  const std::string config_file = (source / "config.json").string();
  write_text(whole.path() / "config.json",
             trained_config_json(read_text_file(config_file), config_file, model, scaling, dtype));
  for (const char* name : kCompanions) {
    if (fs::exists(source / name))
      write_text(whole.path() / name, read_text_file((source / name).string()));
  }
  write_weights(whole.path(), tensors, dtype);
  if (gates != nullptr) gates->save(whole.path() / "gates");
  whole.keep();
}

}  // namespace seer
