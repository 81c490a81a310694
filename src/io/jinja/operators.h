// What the operators do with values, as in Python.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "io/jinja/value.h"

namespace seer::jinja {

// + - * / // %
Value arithmetic(std::string_view op, const Value& a, const Value& b, Budget& budget);
Value negate(const Value& value);
// item in container
bool contains(const Value& container, const Value& item, Budget& budget);
// object.name: a method or attribute first, then a key
Value attribute_of(const Value& object, const std::string& name, Budget& budget);
// object[index]: a key or position first, then an attribute
Value item_of(const Value& object, const Value& index, Budget& budget);
// object[start:stop:step]; none where a part is missing
Value slice_of(const Value& object, const Value& start, const Value& stop, const Value& step,
               Budget& budget);

}  // namespace seer::jinja
