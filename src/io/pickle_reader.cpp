#include "io/pickle_reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <stdexcept>
#include <utility>

#include "base/quote.h"
#include "io/pickle_opcodes.h"

namespace seer {
namespace {

constexpr std::size_t kMaxDimensions = 8;
// A value takes a few hundred bytes here and one in the file: without a limit, a hostile file could ask for gigabytes.
// A model with a thousand tensors makes 20,000.
constexpr std::size_t kMaxValues = 200'000;

struct StorageType {
  std::string_view name;
  std::string_view dtype;
  std::uint64_t bytes;
};

constexpr std::array kStorageTypes = {StorageType{"FloatStorage", "F32", 4},
                                      StorageType{"BFloat16Storage", "BF16", 2},
                                      StorageType{"HalfStorage", "F16", 2}};

enum class Type {
  kMark,
  kNone,
  kBool,
  kInteger,
  kText,
  kTuple,
  kDict,
  kStorageType,    // torch.FloatStorage and its like
  kRebuildTensor,  // torch._utils._rebuild_tensor_v2
  kOrderedDict,    // collections.OrderedDict, the class
  kStorage,
  kTensor,
};

constexpr const char* kTypeNames[] = {"a mark",     "None",    "a boolean",    "an integer",
                                      "a string",   "a tuple", "a dictionary", "a storage type",
                                      "a function", "a class", "a storage",    "a tensor"};

struct Value {
  Type type = Type::kNone;
  std::int64_t integer = 0;                                  // kBool, kInteger, kStorage: elements
  std::string text;                                          // kText; kStorage: the key
  std::vector<const Value*> items;                           // kTuple
  std::map<std::string, const Value*, std::less<>> entries;  // kDict
  const StorageType* storage_type = nullptr;                 // kStorageType, kStorage
  PickledTensor tensor;                                      // kTensor
};

class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> pickle, const StorageBytes& storage_bytes,
                const std::string& source)
      : pickle_(pickle), storage_bytes_(storage_bytes), source_(source) {}

  std::vector<PickledTensor> run() {
    while (step()) {
    }
    if (at_ != pickle_.size()) fail("more follows behind the end of the pickle");
    if (stack_.size() != 1 || stack_[0]->type != Type::kDict)
      fail("expected one dictionary of tensors as the result");
    std::vector<PickledTensor> tensors;
    for (const auto& [name, value] : stack_[0]->entries) {
      if (value->type != Type::kTensor)
        fail("the dictionary's " + quote(name) + " is no tensor but " + name_of(*value));
      PickledTensor tensor = value->tensor;
      tensor.name = name;
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(source_ + ": byte " + std::to_string(opcode_at_) + ": " + what);
  }

  static std::string name_of(const Value& value) {
    return kTypeNames[static_cast<std::size_t>(value.type)];
  }

  std::span<const std::byte> take(std::uint64_t count) {
    if (count > pickle_.size() - at_) fail("the pickle ends inside of an instruction (truncated?)");
    const auto taken = pickle_.subspan(at_, count);
    at_ += count;
    return taken;
  }

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string_view line() {
    const char* begin = reinterpret_cast<const char*>(pickle_.data()) + at_;
    const char* end = std::find(begin, begin + (pickle_.size() - at_), '\n');
    const auto length = static_cast<std::uint64_t>(end - begin);
    take(length + 1);
    return {begin, static_cast<std::size_t>(length)};
  }

  Value& push(Type type) {
    if (values_.size() >= kMaxValues)
      fail("makes more than " + std::to_string(kMaxValues) + " values");
    Value& value = values_.emplace_back();
    value.type = type;
    push_old(&value);
    return value;
  }

  void push_old(Value* value) {
    if (stack_.size() >= kMaxValues)
      fail("more than " + std::to_string(kMaxValues) + " values wait for an instruction");
    stack_.push_back(value);
  }

  void push_integer(std::int64_t integer, Type type = Type::kInteger) {
    push(type).integer = integer;
  }

  Value* pop() {
    if (stack_.empty() || stack_.back()->type == Type::kMark)
      fail("an instruction lacks its operand");
    Value* value = stack_.back();
    stack_.pop_back();
    return value;
  }

  Value* pop(Type type, const char* what) {
    Value* value = pop();
    if (value->type != type) {
      fail(std::string(what) + ": expected " + kTypeNames[static_cast<std::size_t>(type)] +
           ", got " + name_of(*value));
    }
    return value;
  }

  // The values above the last mark, which goes too.
  std::vector<const Value*> pop_to_mark() {
    std::size_t mark = stack_.size();
    while (mark > 0 && stack_[mark - 1]->type != Type::kMark) --mark;
    if (mark == 0) fail("an instruction lacks its mark");
    std::vector<const Value*> items(stack_.begin() + static_cast<std::ptrdiff_t>(mark),
                                    stack_.end());
    stack_.resize(mark - 1);
    return items;
  }

  void push_tuple(std::size_t count) {
    std::vector<const Value*> items(count);
    for (std::size_t i = count; i > 0; --i) items[i - 1] = pop();
    push(Type::kTuple).items = std::move(items);
  }

  // False at the end.
  bool step() {
    opcode_at_ = at_;
    const auto opcode = static_cast<std::uint8_t>(take(1)[0]);
    switch (static_cast<Opcode>(opcode)) {
      case Opcode::kProto: check_protocol(); return true;
      case Opcode::kStop: return false;
      case Opcode::kMark: push(Type::kMark); return true;
      case Opcode::kNone: push(Type::kNone); return true;
      case Opcode::kNewTrue: push_integer(1, Type::kBool); return true;
      case Opcode::kNewFalse: push_integer(0, Type::kBool); return true;
      case Opcode::kBinInt: push_integer(number<std::int32_t>()); return true;
      case Opcode::kBinInt1: push_integer(number<std::uint8_t>()); return true;
      case Opcode::kBinInt2: push_integer(number<std::uint16_t>()); return true;
      case Opcode::kLong1: push_long(); return true;
      case Opcode::kBinUnicode: push_text(); return true;
      case Opcode::kEmptyDict: push(Type::kDict); return true;
      case Opcode::kEmptyTuple: push(Type::kTuple); return true;
      case Opcode::kTuple1: push_tuple(1); return true;
      case Opcode::kTuple2: push_tuple(2); return true;
      case Opcode::kTuple3: push_tuple(3); return true;
      case Opcode::kTuple: {
        auto items = pop_to_mark();
        push(Type::kTuple).items = std::move(items);
        return true;
      }
      case Opcode::kGlobal: push_global(); return true;
      case Opcode::kBinPersId: push_storage(); return true;
      case Opcode::kReduce: call(); return true;
      case Opcode::kBuild: drop_state(); return true;
      case Opcode::kSetItem: {
        const Value* value = pop();
        const Value* key = pop();
        set_items({key, value});
        return true;
      }
      case Opcode::kSetItems: set_items(pop_to_mark()); return true;
      case Opcode::kBinPut: remember(number<std::uint8_t>()); return true;
      case Opcode::kLongBinPut: remember(number<std::uint32_t>()); return true;
      case Opcode::kBinGet: recall(number<std::uint8_t>()); return true;
      case Opcode::kLongBinGet: recall(number<std::uint32_t>()); return true;
    }
    fail("the pickle's instruction " + opcode_name(opcode) +
         " is not one that a dictionary of tensors needs; such files may run code in other "
         "programs. Expected a file of torch.save with tensors alone");
  }

  void check_protocol() {
    if (const auto version = number<std::uint8_t>(); version != 2 || opcode_at_ != 0) {
      fail("pickle protocol " + std::to_string(version) +
           ": expected 2, once, as torch.save writes it");
    }
  }

  void push_long() {
    const auto bytes = take(number<std::uint8_t>());
    if (bytes.size() > 8) fail("an integer of more than 64 bits");
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      bits |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
    const std::size_t width = 8 * bytes.size();
    if (width > 0 && width < 64 && (bits >> (width - 1) & 1) != 0)
      bits |= ~std::uint64_t{0} << width;
    push_integer(static_cast<std::int64_t>(bits));
  }

  void push_text() {
    const auto bytes = take(number<std::uint32_t>());
    push(Type::kText).text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  void push_global() {
    const std::string module(line());
    const std::string name(line());
    if (module == "torch._utils" && name == "_rebuild_tensor_v2") {
      push(Type::kRebuildTensor);
    } else if (module == "collections" && name == "OrderedDict") {
      push(Type::kOrderedDict);
    } else {
      const auto* found = std::find_if(
          kStorageTypes.begin(), kStorageTypes.end(),
          [&](const StorageType& type) { return module == "torch" && type.name == name; });
      if (found == kStorageTypes.end()) {
        fail("the pickle asks for " + quote(module + "." + name) +
             ", which tensors do not need: it is not loaded and nothing of the file is run. "
             "Expected tensors of float32, bfloat16 or float16 alone; do not open this file with "
             "programs that run pickles");
      }
      push(Type::kStorageType).storage_type = found;
    }
  }

  // The tuple ("storage", type, key, device, elements).
  void push_storage() {
    const Value* id = pop(Type::kTuple, "storage");
    const auto& items = id->items;
    if (items.size() != 5 || items[0]->type != Type::kText || items[0]->text != "storage" ||
        items[1]->type != Type::kStorageType || items[2]->type != Type::kText ||
        items[3]->type != Type::kText || items[4]->type != Type::kInteger) {
      fail("a reference to something else than a storage");
    }
    const std::string& key = items[2]->text;
    const auto bytes = storage_bytes_(key);
    if (!bytes)
      fail("storage " + quote(key) + ": the file has no record data/" + printable(key, 60));
    const std::uint64_t size = items[1]->storage_type->bytes;
    if (items[4]->integer < 0 || *bytes % size != 0 ||
        static_cast<std::uint64_t>(items[4]->integer) != *bytes / size) {
      fail("storage " + quote(key) + ": " + std::to_string(items[4]->integer) + " elements of " +
           std::to_string(size) + " bytes, but its record has " + std::to_string(*bytes) +
           " bytes");
    }
    Value& storage = push(Type::kStorage);
    storage.text = key;
    storage.integer = items[4]->integer;
    storage.storage_type = items[1]->storage_type;
  }

  void call() {
    const Value* arguments = pop(Type::kTuple, "arguments");
    const Value* function = pop();
    if (function->type == Type::kOrderedDict) {
      if (!arguments->items.empty()) fail("collections.OrderedDict: expected no arguments");
      push(Type::kDict);
    } else if (function->type == Type::kRebuildTensor) {
      rebuild_tensor(arguments->items);
    } else {
      fail("a call of " + name_of(*function));
    }
  }

  std::vector<std::int64_t> sizes_of(const Value& tuple, const char* what) const {
    std::vector<std::int64_t> sizes;
    if (tuple.type != Type::kTuple || tuple.items.size() > kMaxDimensions)
      fail(std::string(what) + ": expected a tuple of at most 8 integers");
    for (const Value* item : tuple.items) {
      if (item->type != Type::kInteger || item->integer < 0)
        fail(std::string(what) + ": expected integers from 0");
      sizes.push_back(item->integer);
    }
    return sizes;
  }

  // (storage, offset, shape, strides, requires_grad, hooks)
  void rebuild_tensor(const std::vector<const Value*>& items) {
    if (items.size() != 6 || items[0]->type != Type::kStorage || items[1]->type != Type::kInteger ||
        items[4]->type != Type::kBool || items[5]->type != Type::kDict ||
        !items[5]->entries.empty()) {
      fail(
          "a tensor: expected storage, offset, shape, strides, whether it needs gradients, and "
          "no hooks");
    }
    PickledTensor tensor;
    tensor.dtype = items[0]->storage_type->dtype;
    tensor.storage = items[0]->text;
    tensor.shape = sizes_of(*items[2], "shape");
    tensor.strides = sizes_of(*items[3], "strides");
    if (tensor.shape.size() != tensor.strides.size())
      fail("a tensor with another number of strides than of sizes");
    if (items[1]->integer < 0) fail("a tensor with an offset below 0");
    tensor.offset = static_cast<std::uint64_t>(items[1]->integer);
    check_extent(tensor, static_cast<std::uint64_t>(items[0]->integer));
    push(Type::kTensor).tensor = std::move(tensor);
  }

  // The last element lies inside of the storage, and there are no more elements than it has: no small file describes
  // a large tensor.
  void check_extent(const PickledTensor& tensor, std::uint64_t elements) const {
    std::uint64_t count = 1;
    std::uint64_t last = tensor.offset;
    bool overflow = false;
    bool empty = false;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      const auto size = static_cast<std::uint64_t>(tensor.shape[i]);
      std::uint64_t reach = 0;
      empty = empty || size == 0;
      overflow = overflow ||
                 __builtin_mul_overflow(count, std::max<std::uint64_t>(size, 1), &count) ||
                 __builtin_mul_overflow(std::max<std::uint64_t>(size, 1) - 1,
                                        static_cast<std::uint64_t>(tensor.strides[i]), &reach) ||
                 __builtin_add_overflow(last, reach, &last);
    }
    const auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (overflow || count > limit || last > limit) fail("a tensor whose size overflows 64 bits");
    if (empty ? tensor.offset > elements : last >= elements || count > elements) {
      fail("a tensor that reaches out of its storage of " + std::to_string(elements) + " elements");
    }
  }

  // state_dict() leaves a note of versions on its dictionary; it says nothing about tensors.
  void drop_state() {
    pop(Type::kDict, "state");
    if (stack_.empty() || stack_.back()->type != Type::kDict)
      fail("state for something else than a dictionary");
  }

  void set_items(const std::vector<const Value*>& items) {
    if (stack_.empty() || stack_.back()->type != Type::kDict)
      fail("entries for something else than a dictionary");
    if (items.size() % 2 != 0) fail("a dictionary's key without a value");
    Value* dict = stack_.back();
    for (std::size_t i = 0; i < items.size(); i += 2) {
      if (items[i]->type != Type::kText)
        fail("a dictionary's key: expected a string, got " + name_of(*items[i]));
      if (!dict->entries.emplace(items[i]->text, items[i + 1]).second)
        fail("the dictionary's " + quote(items[i]->text) + " comes twice");
    }
  }

  void remember(std::uint32_t index) {
    if (stack_.empty() || stack_.back()->type == Type::kMark) fail("nothing to remember");
    memo_[index] = stack_.back();
    if (memo_.size() > kMaxValues)
      fail("remembers more than " + std::to_string(kMaxValues) + " values");
  }

  void recall(std::uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail("recalls a value that was not remembered");
    push_old(found->second);
  }

  std::span<const std::byte> pickle_;
  const StorageBytes& storage_bytes_;
  const std::string& source_;
  std::size_t at_ = 0;
  std::size_t opcode_at_ = 0;
  // Owns every value until the end: values may refer to each other in any way, and none of them is ever followed deeper
  // than one level.
  std::deque<Value> values_;
  std::vector<Value*> stack_;
  std::map<std::uint32_t, Value*> memo_;
};

}  // namespace

std::vector<PickledTensor> read_tensor_pickle(std::span<const std::byte> pickle,
                                              const StorageBytes& storage_bytes,
                                              const std::string& source) {
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  return PickleMachine(pickle, storage_bytes, source).run();
}

}  // namespace seer
