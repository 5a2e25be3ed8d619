// Identifiers of libhdf5 that close themselves, and why libhdf5 failed.
#pragma once

#include <hdf5.h>

#include <string>
#include <utility>

namespace kvtape {

/// Owns an identifier of libhdf5.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);

  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() { reset(); }

  explicit operator bool() const { return id_ >= 0; }
  hid_t get() const { return id_; }

  /// Closes it; false when libhdf5 could not.
  bool reset() {
    if (id_ < 0) return true;
    return close_(std::exchange(id_, H5I_INVALID_HID)) >= 0;
  }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Close close_ = nullptr;
};

/// A file that is open through a driver of ours. libhdf5 1.10 uses the driver
/// once more after it has dropped its own reference: it is closed last.
struct DrivenFile {
  Handle driver;
  Handle file;

  /// False when libhdf5 could not.
  bool close() {
    const bool done = file.reset();
    return driver.reset() && done;
  }
};

/// Before anything else: libhdf5 prints nothing and loads no plugin.
void start_hdf5();

/// The innermost description of libhdf5's last failure, which names the cause:
/// no time of day, one line.
std::string hdf5_reason();

}  // namespace kvtape
