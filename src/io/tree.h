// The objects of a file while they are read: what of them had a meaning.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/stored_object.h"

namespace kvtape {

/// One object. Attributes are looked up through it, so that those nobody asked
/// for can be kept.
class Node {
 public:
  enum class State : std::uint8_t {
    kUnknown,   // nobody asked: kept, and named
    kExpected,  // kept as it is, with all below it
    kRead,      // has a place in the model
  };

  Node(const StoredObject& object, std::size_t number)
      : object_(&object),
        number_(number),
        understood_(object.attributes.size()) {}

  const std::string& path() const { return object_->path; }
  std::string_view name() const;                  // the last part of the path
  std::size_t number() const { return number_; }  // among the objects
  const std::optional<StoredDataset>& dataset() const {
    return object_->dataset;
  }
  bool is_group() const { return !object_->dataset; }

  /// The attribute, None where it is absent.
  const AttributeValue& attribute(std::string_view name) const;
  void understand(std::string_view name);
  void forget(std::string_view name);  // what was understood could not be used
  void forget_all();

  /// Attributes that nobody understood.
  Attributes others() const;

  State state = State::kUnknown;
  std::vector<Node*> children;

 private:
  void mark(std::string_view name, bool understood);

  const StoredObject* object_;
  std::size_t number_;
  std::vector<bool> understood_;  // per attribute
};

class Tree {
 public:
  explicit Tree(const std::vector<StoredObject>& objects);

  Node& root() { return nodes_.front(); }
  std::vector<Node>& nodes() { return nodes_; }

  /// The object, marked as read; nothing where it is absent or of the other
  /// sort.
  Node* group(const std::string& path);
  Node* dataset(const std::string& path);
  /// The object, of either sort, not marked.
  Node* find(const std::string& path);

 private:
  std::vector<Node> nodes_;
  std::map<std::string_view, Node*> places_;
};

}  // namespace kvtape
