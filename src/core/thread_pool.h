// Threads that are kept alive between many short pieces of work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace kvtape {

class ThreadPool {
 public:
  /// `threads` workers, the caller among them; 0 = one per core. Fewer where
  /// the system allows no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  /// Calls work(task, worker) once for each task in [0, tasks), in any order,
  /// worker in [0, size()). Returns when all are done; rethrows the exception
  /// of the lowest task that threw one.
  void run(std::int64_t tasks,
           const std::function<void(std::int64_t task, int worker)>& work);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kvtape
