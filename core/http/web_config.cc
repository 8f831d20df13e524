#include "core/http/web_config.h"

#include <crypt.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <utility>

#include "core/base/error.h"

namespace pgrm::http {
namespace {

// ---------------------------------------------------------------------------------------------------------------------
// What the words of the file mean.

template <class Value>
struct Word {
  std::string_view word;
  Value value;
};

// As Go's tls.ClientAuthType: a certificate may be asked for, demanded, and verified.
struct ClientAuth {
  int mode;
  bool verify;
};
constexpr std::array client_auth_types{
    Word<ClientAuth>{"NoClientCert", {SSL_VERIFY_NONE, false}},
    Word<ClientAuth>{"RequestClientCert", {SSL_VERIFY_PEER, false}},
    Word<ClientAuth>{"RequireAnyClientCert", {SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, false}},
    Word<ClientAuth>{"RequireClientCert", {SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, false}},
    Word<ClientAuth>{"VerifyClientCertIfGiven", {SSL_VERIFY_PEER, true}},
    Word<ClientAuth>{"RequireAndVerifyClientCert", {SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, true}},
};

constexpr std::array versions{
    Word<int>{"TLS12", TLS1_2_VERSION},
    Word<int>{"TLS13", TLS1_3_VERSION},
};

constexpr std::array curves{
    Word<const char*>{"CurveP256", "P-256"},
    Word<const char*>{"CurveP384", "P-384"},
    Word<const char*>{"CurveP521", "P-521"},
    Word<const char*>{"X25519", "X25519"},
};

/// OpenSSL's account of the last failure on this thread.
std::string openssl_error() {
  std::array<char, 256> text{"no reason given"};
  if (const auto code = ERR_peek_last_error(); code != 0) ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

bool is_bcrypt(const std::string& hash) {
  return hash.size() == 60 && (hash.starts_with("$2a$") || hash.starts_with("$2b$") || hash.starts_with("$2y$"));
}

bool matches(const std::string& password, const std::string& hash) {
  const auto scratch = std::make_unique<crypt_data>();
  const char* const result = crypt_r(password.c_str(), hash.c_str(), scratch.get());
  return result != nullptr && std::string_view(result).size() == hash.size() &&
         CRYPTO_memcmp(result, hash.data(), hash.size()) == 0;
}

// One guess costs tens of milliseconds of CPU: what a flood of them may take.
constexpr int guesses_at_once = 2;
constexpr int most_waiting = 16;
constexpr auto patience = std::chrono::seconds(2);

std::string digest(std::string_view text) {
  std::string result(EVP_MAX_MD_SIZE, '\0');
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(result.data()), &size, EVP_sha256(), nullptr);
  result.resize(size);
  return result;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------
// From the file to the configuration.

class WebConfigFile {
 public:
  explicit WebConfigFile(std::string path) : path_(std::move(path)) {}

  void read_into(WebConfig& config) const {
    YAML::Node root;
    try {
      root = YAML::LoadFile(path_);
    } catch (const std::exception& problem) {  // a directory is none of YAML's exceptions
      fail(problem.what());
    }
    if (root.IsNull()) return;
    expect_map(root, "the file");
    only(root, "", {"tls_server_config", "basic_auth_users", "http_server_config"});
    if (const YAML::Node http = root["http_server_config"]) {
      only(http, "http_server_config.", {"http2"});  // not spoken here, with or without it
    }
    if (const YAML::Node tls = root["tls_server_config"]) config.tls_.reset(context(tls));
    if (const YAML::Node users = root["basic_auth_users"]) read_users(users, config);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::configuration, fmt::format("web configuration {}: {}", path_, what),
                "the format is that of Prometheus' exporter-toolkit, web-configuration.md");
  }

  void expect_map(const YAML::Node& node, const std::string& what) const {
    if (!node.IsMap()) fail(what + " is not a map of keys to values");
  }

  void only(const YAML::Node& node, const std::string& prefix, std::initializer_list<std::string_view> keys) const {
    expect_map(node, prefix.empty() ? "the file" : prefix.substr(0, prefix.size() - 1));
    for (const auto& entry : node) {
      const auto key = entry.first.as<std::string>("");
      if (std::ranges::find(keys, key) == keys.end()) {
        fail(fmt::format("\"{}{}\" is not supported, allowed are: {}", prefix, key, fmt::join(keys, ", ")));
      }
    }
  }

  std::string text(const YAML::Node& map, const char* key) const {
    const YAML::Node node = map[key];
    if (!node || node.IsNull()) return {};
    if (!node.IsScalar()) fail(fmt::format("{} is not a single value", key));
    return node.as<std::string>();
  }

  std::string file(const YAML::Node& map, const char* key) const {
    const std::string name = text(map, key);
    return name.empty() ? name : (std::filesystem::path(path_).parent_path() / name).string();
  }

  template <class Table>
  auto meaning(const Table& table, const std::string& word, const char* key) const {
    const auto* const row = std::ranges::find_if(table, [&word](const auto& entry) { return entry.word == word; });
    if (row == table.end()) {
      std::string allowed;
      for (const auto& entry : table) allowed += (allowed.empty() ? "" : ", ") + std::string(entry.word);
      fail(fmt::format("{} is \"{}\", allowed are: {}", key, word, allowed));
    }
    return row->value;
  }

  void require(bool done, const std::string& what) const {
    if (!done) fail(fmt::format("{}: {}", what, openssl_error()));
  }

  SSL_CTX* context(const YAML::Node& tls) const {
    only(tls, "tls_server_config.",
         {"cert_file", "key_file", "client_auth_type", "client_ca_file", "min_version", "max_version", "cipher_suites",
          "prefer_server_cipher_suites", "curve_preferences"});
    std::unique_ptr<SSL_CTX, WebConfig::FreeTls> context(SSL_CTX_new(TLS_server_method()));
    SSL_CTX* const c = context.get();
    require(c != nullptr, "TLS cannot be initialised");
    ERR_clear_error();
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_id_context(c, reinterpret_cast<const unsigned char*>("pgrm"), 4);

    // Without a callback, OpenSSL asks on the terminal, and waits.
    SSL_CTX_set_default_passwd_cb(c, [](char*, int, int, void*) { return -1; });

    const std::string certificate = file(tls, "cert_file");
    const std::string key = file(tls, "key_file");
    if (certificate.empty() || key.empty()) fail("tls_server_config needs cert_file and key_file");
    require(SSL_CTX_use_certificate_chain_file(c, certificate.c_str()) == 1, "cert_file " + certificate);
    require(SSL_CTX_use_PrivateKey_file(c, key.c_str(), SSL_FILETYPE_PEM) == 1, "key_file " + key);
    require(SSL_CTX_check_private_key(c) == 1, "key_file is not that of cert_file");

    set_versions(tls, c);
    set_ciphers(tls, c);
    set_client_auth(tls, c);
    return context.release();
  }

  void set_versions(const YAML::Node& tls, SSL_CTX* c) const {
    const std::string min = text(tls, "min_version");
    const std::string max = text(tls, "max_version");
    const int lowest = meaning(versions, min.empty() ? "TLS12" : min, "min_version");
    const int highest = meaning(versions, max.empty() ? "TLS13" : max, "max_version");
    if (lowest > highest) fail("min_version is above max_version");
    SSL_CTX_set_min_proto_version(c, lowest);
    SSL_CTX_set_max_proto_version(c, highest);
  }

  void set_ciphers(const YAML::Node& tls, SSL_CTX* c) const {
    for (const char* const key : {"cipher_suites", "curve_preferences"}) {
      const YAML::Node list = tls[key];
      if (list && !list.IsNull() && !list.IsSequence()) fail(fmt::format("{} is not a list", key));
    }
    std::string names;
    for (const auto& entry : tls["cipher_suites"]) {
      const auto standard = entry.as<std::string>("");
      const std::string name = OPENSSL_cipher_name(standard.c_str());
      if (name == "(NONE)") fail(fmt::format("cipher_suites has \"{}\", which is not known", standard));
      // TLS 1.3 has its own, which are not to be chosen from, as in Go.
      if (!name.starts_with("TLS_")) names += (names.empty() ? "" : ":") + name;
    }
    if (!names.empty()) require(SSL_CTX_set_cipher_list(c, names.c_str()) == 1, "cipher_suites");
    std::string groups;
    for (const auto& entry : tls["curve_preferences"]) {
      groups +=
          (groups.empty() ? "" : ":") + std::string(meaning(curves, entry.as<std::string>(""), "curve_preferences"));
    }
    if (!groups.empty()) require(SSL_CTX_set1_groups_list(c, groups.c_str()) == 1, "curve_preferences");
    const std::string prefer = text(tls, "prefer_server_cipher_suites");
    if (prefer.empty() || prefer == "true") SSL_CTX_set_options(c, SSL_OP_CIPHER_SERVER_PREFERENCE);
  }

  void set_client_auth(const YAML::Node& tls, SSL_CTX* c) const {
    const std::string type = text(tls, "client_auth_type");
    const std::string authorities = file(tls, "client_ca_file");
    const auto auth = meaning(client_auth_types, type.empty() ? "NoClientCert" : type, "client_auth_type");
    if (auth.verify && authorities.empty()) fail("client_auth_type " + type + " needs client_ca_file");
    if (!auth.verify && !authorities.empty()) {
      fail(
          "client_ca_file is of no use with this client_auth_type: RequireAndVerifyClientCert demands its "
          "certificates");
    }
    if (!authorities.empty()) {
      require(SSL_CTX_load_verify_locations(c, authorities.c_str(), nullptr) == 1, "client_ca_file " + authorities);
      SSL_CTX_set_client_CA_list(c, SSL_load_client_CA_file(authorities.c_str()));
    }
    const auto accept_any = [](int, X509_STORE_CTX*) { return 1; };
    SSL_CTX_set_verify(c, auth.mode, auth.verify ? nullptr : static_cast<SSL_verify_cb>(accept_any));
  }

  void read_users(const YAML::Node& users, WebConfig& config) const {
    expect_map(users, "basic_auth_users");
    for (const auto& entry : users) {
      const auto name = entry.first.as<std::string>("");
      const auto hash = entry.second.as<std::string>("");
      if (name.empty() || name.find(':') != std::string::npos) fail("a user of basic_auth_users has no proper name");
      if (!is_bcrypt(hash)) fail(fmt::format("the password of user {} is no bcrypt hash ($2y$10$…)", name));
      config.users_[name] = hash;
    }
  }

  std::string path_;
};

void WebConfig::FreeTls::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

WebConfig::~WebConfig() = default;

std::shared_ptr<const WebConfig> WebConfig::load(const std::string& path) {
  const auto config = std::make_shared<WebConfig>();
  if (!path.empty()) WebConfigFile(path).read_into(*config);
  return config;
}

// ---------------------------------------------------------------------------------------------------------------------
// Basic authentication.

std::optional<std::pair<std::string, std::string>> basic_credentials(std::string_view authorization) {
  constexpr std::string_view scheme = "basic ";
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  if (authorization.size() < scheme.size() ||
      !std::ranges::equal(authorization.substr(0, scheme.size()), scheme, same)) {
    return std::nullopt;
  }
  authorization.remove_prefix(scheme.size());
  if (authorization.empty() || authorization.size() % 4 != 0 || authorization.size() > 1024) return std::nullopt;
  std::string text(authorization.size(), '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(authorization.data()),
                                   static_cast<int>(authorization.size()));
  if (size < 0) return std::nullopt;
  const auto padding =
      static_cast<std::size_t>(std::ranges::count(authorization.substr(authorization.size() - 2), '='));
  text.resize(static_cast<std::size_t>(size) - padding);
  const auto colon = text.find(':');
  if (colon == std::string::npos || text.find('\0') != std::string::npos) return std::nullopt;
  return std::pair(text.substr(0, colon), text.substr(colon + 1));
}

WebConfig::Answer WebConfig::allows(const std::optional<std::string>& authorization) const {
  if (users_.empty()) return Answer::yes;
  const auto credentials = authorization ? basic_credentials(*authorization) : std::nullopt;
  if (!credentials) return Answer::no;
  const auto& [name, password] = *credentials;
  const std::string key = digest(name + ":" + password);
  {
    std::unique_lock lock(mutex_);
    const auto decided = [&] { return known_.contains(key) || guesses_ < guesses_at_once; };
    if (known_.contains(key)) return Answer::yes;
    if (waiting_ >= most_waiting) return Answer::busy;
    ++waiting_;
    const bool in_time = turn_.wait_for(lock, patience, decided);
    --waiting_;
    if (!in_time) return Answer::busy;
    if (known_.contains(key)) return Answer::yes;
    ++guesses_;
  }
  const auto user = users_.find(name);
  // An unknown user is compared with a known one, at the same cost, so that the time taken tells nothing.
  const bool right = matches(password, (user == users_.end() ? users_.begin() : user)->second) && user != users_.end();
  const std::lock_guard lock(mutex_);
  --guesses_;
  if (right) known_.insert(key);
  turn_.notify_all();
  return right ? Answer::yes : Answer::no;
}

}  // namespace pgrm::http
