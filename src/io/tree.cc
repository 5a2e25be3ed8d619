#include "io/tree.h"

namespace kvtape {
namespace {

std::string_view parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 ? path.substr(0, 1) : path.substr(0, slash);
}

}  // namespace

std::string_view Node::name() const {
  return std::string_view(path()).substr(path().rfind('/') + 1);
}

const AttributeValue& Node::attribute(std::string_view name) const {
  static const AttributeValue kNone;
  for (const auto& [key, value] : object_->attributes)
    if (key == name) return value;
  return kNone;
}

void Node::mark(std::string_view name, bool understood) {
  for (std::size_t i = 0; i < understood_.size(); ++i)
    if (object_->attributes[i].first == name) understood_[i] = understood;
}

void Node::understand(std::string_view name) { mark(name, true); }
void Node::forget(std::string_view name) { mark(name, false); }
void Node::forget_all() { understood_.assign(understood_.size(), false); }

Attributes Node::others() const {
  Attributes result;
  for (std::size_t i = 0; i < understood_.size(); ++i)
    if (!understood_[i]) result.push_back(object_->attributes[i]);
  return result;
}

Tree::Tree(const std::vector<StoredObject>& objects) {
  nodes_.reserve(objects.size());  // pointers into it are kept
  for (std::size_t number = 0; number < objects.size(); ++number) {
    Node& node = nodes_.emplace_back(objects[number], number);
    places_[node.path()] = &node;
    if (number > 0)
      places_.at(parent_of(node.path()))->children.push_back(&node);
  }
}

Node* Tree::find(const std::string& path) {
  const auto place = places_.find(path);
  return place == places_.end() ? nullptr : place->second;
}

Node* Tree::group(const std::string& path) {
  Node* node = find(path);
  if (node == nullptr || !node->is_group()) return nullptr;
  node->state = Node::State::kRead;
  return node;
}

Node* Tree::dataset(const std::string& path) {
  Node* node = find(path);
  if (node == nullptr || node->is_group()) return nullptr;
  node->state = Node::State::kRead;
  return node;
}

}  // namespace kvtape
