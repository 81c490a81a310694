// The values that a template's expressions have. Lists and dicts never change once made, so they can be shared;
// a namespace is the one thing that a template can write to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace seer::jinja {

// What went wrong, without a position: whoever knows the expression adds it.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Limits {
  std::size_t max_output_bytes = std::size_t{64} << 20;
  std::size_t max_work_bytes = std::size_t{512} << 20;  // all strings and lists made on the way
  std::uint64_t max_steps = 20'000'000;                 // expressions and statements run
  int max_depth = 100;                                  // of nested lists and dicts
};

// What one rendering has used of its limits. Whatever may take long or much memory asks here first.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}
  void steps(std::uint64_t count);
  void bytes(std::size_t count);
  void output(std::size_t count);
  void depth(int depth) const;

 private:
  Limits limits_;
  std::uint64_t steps_ = 0;
  std::size_t bytes_ = 0;
  std::size_t output_ = 0;
};

class Value;
struct List;
struct Dict;
struct Namespace;
struct Loop;
struct Callable;

struct Undefined {
  std::string name;  // for messages
};

class Value {
 public:
  using StringPtr = std::shared_ptr<const std::string>;
  using UndefinedPtr = std::shared_ptr<const Undefined>;
  using ListPtr = std::shared_ptr<const List>;
  using DictPtr = std::shared_ptr<const Dict>;
  using LoopPtr = std::shared_ptr<const Loop>;
  using CallablePtr = std::shared_ptr<const Callable>;

  Value() = default;  // none
  explicit Value(bool value) : data_(value) {}
  explicit Value(std::int64_t value) : data_(value) {}
  explicit Value(double value) : data_(value) {}
  explicit Value(std::string text) : data_(std::make_shared<const std::string>(std::move(text))) {}
  explicit Value(const char* text) : Value(std::string(text)) {}
  explicit Value(Namespace* value) : data_(value) {}
  static Value undefined(std::string name);
  static Value list(std::vector<Value> items, Budget& budget);
  static Value tuple(std::vector<Value> items, Budget& budget);
  static Value dict(std::vector<std::pair<std::string, Value>> items, Budget& budget);
  // A function, or with `self` a method of a value.
  static Value callable(std::string name);
  static Value method(std::string name, Value self, Budget& budget);
  static Value loop(std::shared_ptr<const Loop> loop, Budget& budget);

  bool is_undefined() const { return holds<UndefinedPtr>(); }
  bool is_none() const { return holds<std::monostate>(); }
  bool is_bool() const { return holds<bool>(); }
  bool is_int() const { return holds<std::int64_t>(); }
  bool is_float() const { return holds<double>(); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_string() const { return holds<StringPtr>(); }
  bool is_list() const { return holds<ListPtr>(); }  // tuples too
  bool is_dict() const { return holds<DictPtr>(); }
  bool is_namespace() const { return holds<Namespace*>(); }
  bool is_loop() const { return holds<LoopPtr>(); }
  bool is_callable() const { return holds<CallablePtr>(); }

  bool as_bool() const { return std::get<bool>(data_); }
  std::int64_t as_int() const;  // of a bool or an int
  double as_float() const;      // of a number
  const std::string& as_string() const { return *std::get<StringPtr>(data_); }
  const std::vector<Value>& as_list() const;
  bool is_tuple() const;
  const Dict& as_dict() const { return *std::get<DictPtr>(data_); }
  Namespace& as_namespace() const { return *std::get<Namespace*>(data_); }
  const Loop& as_loop() const { return *std::get<LoopPtr>(data_); }
  const Callable& as_callable() const { return *std::get<CallablePtr>(data_); }
  const std::string& undefined_name() const { return std::get<UndefinedPtr>(data_)->name; }

  bool truthy() const;
  const char* type_name() const;  // as Python calls it
  int depth() const;              // 0 for what holds nothing

 private:
  template <typename T>
  bool holds() const {
    return std::holds_alternative<T>(data_);
  }

  std::variant<std::monostate, UndefinedPtr, bool, std::int64_t, double, StringPtr, ListPtr,
               DictPtr, Namespace*, LoopPtr, CallablePtr>
      data_;
};

struct List {
  std::vector<Value> items;
  bool tuple = false;
  int depth = 1;
};

struct Dict {
  std::vector<std::pair<std::string, Value>> items;  // in order of insertion, keys differ
  int depth = 1;

  const Value* find(std::string_view key, Budget& budget) const;
};

// Owned by the rendering, since namespaces may refer to each other in circles.
struct Namespace {
  std::map<std::string, Value, std::less<>> attributes;
};

struct Loop {
  Value items;  // a list
  std::int64_t index0 = 0;
  std::int64_t nesting = 1;
};

struct Callable {
  std::string name;
  bool has_self = false;
  Value self;
};

// Throws the message that Python would give for an operation on something undefined.
[[noreturn]] void fail_undefined(const Value& value);

// ==; numbers by value whatever their types.
bool equal(const Value& a, const Value& b, Budget& budget);

// Below 0, 0 or above 0; throws for types without an order.
int compare(const Value& a, const Value& b, Budget& budget);

// What a value prints as (Python's str), and what it prints as inside a list (repr).
std::string to_text(const Value& value, Budget& budget);
void append_repr(std::string& out, const Value& value, Budget& budget);
std::string float_text(double value);

// What a loop over the value sees: items of a list, keys of a dict, characters of a string.
std::vector<Value> iterate(const Value& value, Budget& budget);

}  // namespace seer::jinja
