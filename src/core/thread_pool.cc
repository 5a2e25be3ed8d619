#include "core/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

namespace kvtape {

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable start;
  std::condition_variable done;
  std::uint64_t round = 0;  // counts run() calls
  int busy = 0;             // helpers that still work on this round
  bool stop = false;
  const std::function<void(std::int64_t, int)>* work = nullptr;
  std::int64_t tasks = 0;
  std::atomic<std::int64_t> next{0};
  std::int64_t failed_task = std::numeric_limits<std::int64_t>::max();
  std::exception_ptr failure;
  std::vector<std::thread> helpers;

  void take_tasks(int worker);
  void help(int worker);
};

void ThreadPool::State::take_tasks(int worker) {
  for (std::int64_t task = next++; task < tasks; task = next++) {
    try {
      (*work)(task, worker);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (task < failed_task) {
        failed_task = task;
        failure = std::current_exception();
      }
    }
  }
}

void ThreadPool::State::help(int worker) {
  std::uint64_t seen = 0;
  std::unique_lock lock(mutex);
  while (true) {
    start.wait(lock, [&] { return stop || round != seen; });
    if (stop) return;
    seen = round;
    lock.unlock();
    take_tasks(worker);
    lock.lock();
    if (--busy == 0) done.notify_one();
  }
}

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads <= 0)
    threads =
        static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  // Results do not depend on how many there are: where threads or memory lack,
  // fewer do.
  state_->helpers.reserve(static_cast<std::size_t>(threads));
  try {
    for (int worker = 1; worker < threads; ++worker)
      state_->helpers.emplace_back([this, worker] { state_->help(worker); });
  } catch (const std::exception&) {
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->start.notify_all();
  for (std::thread& helper : state_->helpers) helper.join();
}

int ThreadPool::size() const {
  return static_cast<int>(state_->helpers.size()) + 1;
}

void ThreadPool::run(
    std::int64_t tasks,
    const std::function<void(std::int64_t task, int worker)>& work) {
  State& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    state.work = &work;
    state.tasks = tasks;
    state.next = 0;
    state.failure = nullptr;
    state.failed_task = std::numeric_limits<std::int64_t>::max();
    // One task needs no helper: waking them costs more than it.
    if (tasks > 1) {
      state.busy = static_cast<int>(state.helpers.size());
      ++state.round;
    }
  }
  if (tasks > 1) state.start.notify_all();
  state.take_tasks(0);
  std::unique_lock lock(state.mutex);
  state.done.wait(lock, [&] { return state.busy == 0; });
  if (state.failure) std::rethrow_exception(state.failure);
}

}  // namespace kvtape
