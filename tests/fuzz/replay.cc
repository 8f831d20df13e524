// Drives a target without libFuzzer: replay SECONDS DIRECTORY. Every file of the directory as it is, then files with
// random changes, the same ones in every run. The input that ends the program is written to crash-<pid>.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <iostream>
#include <iterator>
#include <random>
#include <vector>

#include "tests/fuzz/target.h"

namespace {

std::string current;
std::string crash_file;

void keep_input(int signal) {
  const int file = open(crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0 || write(file, current.data(), current.size()) < 0) _exit(1);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(std::string input) {
  current = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current.data()), current.size());
}

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& corpus) : corpus_(corpus) {}

  std::string next() {
    std::string text = corpus_[below(corpus_.size())];
    for (std::size_t i = 0, changes = 1 + below(4); i < changes; ++i) change(text);
    return text;
  }

 private:
  std::size_t below(std::size_t limit) { return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random_); }

  void change(std::string& text) {
    static constexpr std::string_view odd{"\0\n\r\t \"'\\{}[]:=%&/?-09aZ\x7f\x80\xc3\xff", 29};
    const std::size_t at = below(text.size() + 1);
    const std::size_t length = std::min(text.size() - at, 1 + below(16));
    switch (below(5)) {
      case 0:
        text.insert(at, 1 + below(3), odd[below(odd.size())]);
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(below(text.size() + 1), text.substr(at, length));
        break;
      case 3:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1U << below(8)));
        break;
      default: {
        const std::string& other = corpus_[below(corpus_.size())];
        text = text.substr(0, at) + other.substr(below(other.size() + 1));
      }
    }
  }

  const std::vector<std::string>& corpus_;
  std::mt19937_64 random_{1};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " SECONDS DIRECTORY\n";
    return 2;
  }
  crash_file = "crash-" + std::to_string(getpid());
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL}) std::signal(signal, keep_input);
  std::vector<std::string> corpus;
  for (const auto& entry : std::filesystem::directory_iterator(argv[2])) {
    std::ifstream file(entry.path(), std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  if (corpus.empty()) {
    std::cerr << argv[2] << " has no file\n";
    return 2;
  }
  std::ranges::sort(corpus);
  for (const std::string& input : corpus) run(input);
  Mutator mutator(corpus);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::stoi(argv[1]));
  std::size_t runs = corpus.size();
  while (std::chrono::steady_clock::now() < end) {
    run(mutator.next());
    ++runs;
  }
  std::cout << runs << " inputs, " << corpus.size() << " of them as they stand in " << argv[2] << '\n';
  return 0;
}
