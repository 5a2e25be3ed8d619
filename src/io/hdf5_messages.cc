#include "io/hdf5_messages.h"

#include <limits>

namespace kvtape {
namespace {

constexpr std::int64_t kMany = std::numeric_limits<std::int64_t>::max();
constexpr int kMostFilters = 8;

template <typename Enum>
Enum get_enum(WireReader& in, Enum last) {
  return static_cast<Enum>(in.number(0, static_cast<std::int64_t>(last)));
}

bool get_bool(WireReader& in) { return in.number(0, 1) != 0; }

struct ValueWriter {
  WireWriter& out;
  void operator()(NoValue) const {}
  void operator()(bool value) const { out.number(value ? 1 : 0); }
  void operator()(std::int64_t value) const { out.number(value); }
  void operator()(std::uint64_t value) const {
    out.number(static_cast<std::int64_t>(value));
  }
  void operator()(double value) const { out.real(value); }
  void operator()(const std::string& value) const { out.text(value); }
  void operator()(const std::vector<std::int64_t>& value) const {
    out.list(value);
  }
};

void put(WireWriter& out, const StoredDataset& d) {
  out.number(static_cast<std::int64_t>(d.dtype));
  out.number(d.big_endian ? 1 : 0);
  out.list(d.sizes);
  out.number(static_cast<std::int64_t>(d.layout));
  out.number(d.offset);
  out.number(d.stored_bytes);
  out.list(d.chunk);
  out.number(std::ssize(d.filters));
  for (const StoredFilter& filter : d.filters) {
    out.number(static_cast<std::int64_t>(filter.kind));
    out.number(static_cast<std::int64_t>(filter.bytes_per_element));
  }
  out.bytes(d.compact);
}

StoredDataset get_dataset(WireReader& in) {
  StoredDataset d;
  d.dtype = get_enum(in, kLastDType);
  d.big_endian = get_bool(in);
  d.sizes = in.list();
  d.layout = get_enum(in, StoredDataset::Layout::kCompact);
  d.offset = in.number(0, kMany);
  d.stored_bytes = in.number(0, kMany);
  d.chunk = in.list();
  d.filters.resize(static_cast<std::size_t>(in.number(0, kMostFilters)));
  for (StoredFilter& filter : d.filters) {
    filter.kind = get_enum(in, StoredFilter::Kind::kFletcher32);
    filter.bytes_per_element = static_cast<std::size_t>(in.number(0, kMany));
  }
  d.compact = in.bytes();
  return d;
}

}  // namespace

void put(WireWriter& out, const Hdf5Hello& hello) {
  out.text(hello.kvtape_version);
  out.text(hello.hdf5_version);
  out.number(hello.limits_memory ? 1 : 0);
  out.number(hello.filters_calls ? 1 : 0);
}

Hdf5Hello get_hello(WireReader& in) {
  Hdf5Hello hello;
  hello.kvtape_version = in.text();
  hello.hdf5_version = in.text();
  hello.limits_memory = get_bool(in);
  hello.filters_calls = get_bool(in);
  in.end();
  return hello;
}

void put(WireWriter& out, const ErrorParts& parts) {
  for (const std::string* part : {&parts.object, &parts.field, &parts.expected,
                                  &parts.found, &parts.text, &parts.hint})
    out.text(*part);
}

ErrorParts get_error(WireReader& in) {
  ErrorParts parts;
  for (std::string* part : {&parts.object, &parts.field, &parts.expected,
                            &parts.found, &parts.text, &parts.hint})
    *part = in.text();
  in.end();
  return parts;
}

void put(WireWriter& out, const AttributeValue& value) {
  out.number(static_cast<std::int64_t>(value.index()));
  std::visit(ValueWriter{out}, value);
}

AttributeValue get_attribute(WireReader& in) {
  switch (in.number(0, std::variant_size_v<AttributeValue> - 1)) {
    case 0:
      return {};
    case 1:
      return get_bool(in);
    case 2:
      return in.number();
    case 3:
      return static_cast<std::uint64_t>(in.number());
    case 4:
      return in.real();
    case 5:
      return in.text();
    default:
      return in.list();
  }
}

void put(WireWriter& out, const StoredObject& object) {
  out.text(object.path);
  out.number(std::ssize(object.attributes));
  for (const auto& [name, value] : object.attributes) {
    out.text(name);
    put(out, value);
  }
  out.number(object.dataset ? 1 : 0);
  if (object.dataset) put(out, *object.dataset);
}

StoredObject get_object(WireReader& in) {
  StoredObject object;
  object.path = in.text();
  for (std::int64_t left = in.number(0, kMany); left > 0; --left) {
    std::string name = in.text();
    object.attributes.emplace_back(std::move(name), get_attribute(in));
  }
  if (get_bool(in)) object.dataset = get_dataset(in);
  in.end();
  return object;
}

void put(WireWriter& out, const ChunkPlace& place) {
  out.number(place.address);
  out.number(place.bytes);
  out.number(place.skipped);
}

ChunkPlace get_chunk_place(WireReader& in) {
  ChunkPlace place;
  place.address = in.number(0, kMany);
  place.bytes = in.number(-1, kMany);
  place.skipped = static_cast<std::uint32_t>(
      in.number(0, std::numeric_limits<std::uint32_t>::max()));
  return place;
}

}  // namespace kvtape
