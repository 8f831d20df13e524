// The configuration file of exporter-toolkit's format; TLS is spoken for real, on loopback, with certificates made
// here.
#include "core/http/web_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <vector>

#include "core/base/error.h"
#include "core/http/client.h"
#include "core/http/server.h"

namespace pgrm::http {
namespace {

using testing::HasSubstr;

// htpasswd -nbBC 4 "" open-sesame
const std::string hash = "$2y$04$K6xUl8WCGIuVoIJuo3yLWeerRz6oLQYeFvgwvTyjFXjHIEbUT9JKS";
// "alice:open-sesame" and others, in base64
constexpr auto alice = "Basic YWxpY2U6b3Blbi1zZXNhbWU=";
constexpr auto wrong = "Basic YWxpY2U6d3Jvbmc=";
constexpr auto stranger = "Basic Ym9iOm9wZW4tc2VzYW1l";

class WebConfigTest : public testing::Test {
 protected:
  WebConfigTest() {
    std::string directory = "/tmp/pgrm-web-XXXXXX";
    if (mkdtemp(directory.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory_ = directory;
  }
  ~WebConfigTest() override { std::filesystem::remove_all(directory_); }

  std::string write(const std::string& text) const {
    std::ofstream(directory_ + "/web.yml") << text;
    return directory_ + "/web.yml";
  }
  std::shared_ptr<const WebConfig> load(const std::string& text) const { return WebConfig::load(write(text)); }

  std::string refusal(const std::string& text) const {
    try {
      load(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::configuration);
      return error.what();
    }
    return "it was taken";
  }

  int shell(const std::string& command) const {
    return std::system(
        ("cd " + directory_ + " && { " + command + "; } >shell.log 2>&1").c_str());  // NOLINT(cert-env33-c)
  }
  /// server.{crt,key}, and client.{crt,key} signed by ca.crt.
  void make_certificates() const {
    ASSERT_EQ(
        shell("ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'; "
              "openssl req -x509 $ec -days 1 -keyout server.key -out server.crt -subj /CN=localhost "
              "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 && "
              "openssl req -x509 $ec -days 1 -keyout ca.key -out ca.crt -subj /CN=ca && "
              "openssl req $ec -keyout client.key -out client.csr -subj /CN=client && "
              "openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -out client.crt"),
        0);
  }

  std::string directory_;
};

TEST_F(WebConfigTest, AnEmptyFileProtectsNothing) {
  const auto config = load("");
  EXPECT_EQ(config->tls(), nullptr);
  EXPECT_FALSE(config->has_users());
  EXPECT_EQ(config->allows(std::nullopt), WebConfig::Answer::yes);
}

TEST_F(WebConfigTest, UsersAreLetInByTheirPasswords) {
  const auto config = load("basic_auth_users:\n  alice: " + hash + "\n");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(config->allows(alice), WebConfig::Answer::yes);
    EXPECT_EQ(config->allows("basic" + std::string(alice).substr(5)), WebConfig::Answer::yes) << "any case";
    EXPECT_EQ(config->allows(std::nullopt), WebConfig::Answer::no);
    for (const char* const other :
         {wrong, stranger, "", "Basic", "Basic ", "Basic x", "Basic ????", "Bearer abc", "Basic YWxpY2U="}) {
      EXPECT_EQ(config->allows(other), WebConfig::Answer::no) << other;
    }
  }
}

TEST_F(WebConfigTest, AFloodOfGuessesHoldsUpNobodyWhoIsKnown) {
  const auto config = load("basic_auth_users:\n  alice: " + hash + "\n");
  ASSERT_EQ(config->allows(alice), WebConfig::Answer::yes);
  std::vector<std::future<WebConfig::Answer>> guesses;
  for (int i = 0; i < 100; ++i) {
    guesses.push_back(std::async(std::launch::async, [&config] { return config->allows(wrong); }));
  }
  EXPECT_EQ(config->allows(alice), WebConfig::Answer::yes);
  for (auto& guess : guesses) EXPECT_NE(guess.get(), WebConfig::Answer::yes);
}

TEST_F(WebConfigTest, WhatIsWrongIsNamed) {
  make_certificates();
  const std::string tls = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
  EXPECT_THAT(refusal("tls_server_config: {cert_file: server.crt}"), HasSubstr("needs cert_file and key_file"));
  EXPECT_THAT(refusal("tls_server_config: {cert_file: none.crt, key_file: server.key}"), HasSubstr("none.crt"));
  EXPECT_THAT(refusal("tls_server_config: {cert_file: server.crt, key_file: ca.key}"), HasSubstr("key"));
  EXPECT_THAT(refusal(tls + "  client_auth_type: Perhaps\n"), HasSubstr("RequireAndVerifyClientCert"));
  EXPECT_THAT(refusal(tls + "  client_auth_type: RequireAndVerifyClientCert\n"), HasSubstr("needs client_ca_file"));
  EXPECT_THAT(refusal(tls + "  client_ca_file: ca.crt\n"), HasSubstr("of no use"));
  EXPECT_THAT(refusal(tls + "  min_version: TLS10\n"), HasSubstr("allowed are: TLS12, TLS13"));
  EXPECT_THAT(refusal(tls + "  min_version: TLS13\n  max_version: TLS12\n"), HasSubstr("above"));
  EXPECT_THAT(refusal(tls + "  cipher_suites: [NONSENSE]\n"), HasSubstr("NONSENSE"));
  EXPECT_THAT(refusal(tls + "  curve_preferences: [P256]\n"), HasSubstr("CurveP256"));
  EXPECT_THAT(refusal(tls + "  client_allowed_sans: [x]\n"), HasSubstr("client_allowed_sans")) << "not ignored";
  EXPECT_THAT(refusal("rate_limit: {burst: 1}"), HasSubstr("rate_limit"));
  EXPECT_THAT(refusal("basic_auth_users: {alice: open-sesame}"), HasSubstr("bcrypt"));
  EXPECT_THAT(refusal("basic_auth_users: alice"), HasSubstr("map"));
  EXPECT_THAT(refusal("a: [\n"), HasSubstr("web.yml"));
  EXPECT_THROW(WebConfig::load(directory_ + "/none.yml"), Error);
  EXPECT_NE(load(tls + "  min_version: TLS12\n  max_version: TLS13\n  prefer_server_cipher_suites: true\n"
                       "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n"
                       "  curve_preferences: [CurveP256, X25519]\n"
                       "http_server_config: {http2: false}\n")
                ->tls(),
            nullptr);
}

class TlsTest : public WebConfigTest {
 protected:
  void SetUp() override {
    make_certificates();
    server_.get("/", [](const Request&) { return Response{200, "secret", "text/plain"}; });
    server_.start();
  }
  /// What curl prints, or "exit N".
  std::string curl(const std::string& options) const {
    const int end = shell("curl --silent --max-time 20 --output - " + options + " >out");
    if (end != 0) return "exit " + std::to_string(WEXITSTATUS(end));
    std::ifstream file(directory_ + "/out");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string url(const std::string& scheme) const { return scheme + "://127.0.0.1:" + std::to_string(server_.port()); }

  const std::string tls_ = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
  Server server_{"127.0.0.1:0"};
};

TEST_F(TlsTest, IsSpokenAndNothingElse) {
  server_.configure(load(tls_));
  EXPECT_EQ(curl("--cacert server.crt " + url("https")), "secret");
  EXPECT_EQ(curl("--cacert server.crt --tls-max 1.2 " + url("https")), "secret");
  EXPECT_EQ(curl("--cacert ca.crt " + url("https")), "exit 60") << "another's certificate";
  EXPECT_NE(curl(url("http")), "secret");
  server_.configure(load(tls_ + "  min_version: TLS13\n"));
  EXPECT_EQ(curl("--cacert server.crt --tls-max 1.2 " + url("https")), "exit 35");
}

TEST_F(TlsTest, ClientCertificatesAreDemandedAndVerified) {
  server_.configure(load(tls_ + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"));
  EXPECT_EQ(curl("--cacert server.crt --cert client.crt --key client.key " + url("https")), "secret");
  EXPECT_NE(curl("--cacert server.crt " + url("https")), "secret");
  EXPECT_NE(curl("--cacert server.crt --cert server.crt --key server.key " + url("https")), "secret");
  server_.configure(load(tls_ + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.crt\n"));
  EXPECT_EQ(curl("--cacert server.crt " + url("https")), "secret");
  EXPECT_NE(curl("--cacert server.crt --cert server.crt --key server.key " + url("https")), "secret");
}

TEST_F(TlsTest, EveryPageWantsThePassword) {
  server_.configure(load(tls_ + "basic_auth_users:\n  alice: " + hash + "\n"));
  const std::string status = "--cacert server.crt -w '%{http_code}' ";
  EXPECT_EQ(curl("--cacert server.crt -u alice:open-sesame " + url("https")), "secret");
  EXPECT_THAT(curl(status + url("https")), HasSubstr("401"));
  EXPECT_THAT(curl(status + "-u alice:wrong " + url("https")), HasSubstr("401"));
  EXPECT_THAT(curl(status + url("https") + "/nothing"), HasSubstr("401")) << "not even what there is";
}

TEST_F(TlsTest, OurOwnClientShowsWhoItIsAndKnowsWhomItSpeaksTo) {
  server_.configure(load(tls_ + "basic_auth_users:\n  alice: " + hash + "\n"));
  const std::string authority = directory_ + "/server.crt";
  const auto status = [this](const Access& access) {
    return make_client(url("https"), access)->get("/", std::chrono::seconds(20)).status;
  };
  EXPECT_EQ(status({"alice", Secret("open-sesame"), authority}), 200);
  EXPECT_EQ(status({"alice", Secret("wrong"), authority}), 401);
  try {
    status({"alice", Secret("open-sesame"), directory_ + "/ca.crt"});
    FAIL() << "another's certificate";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::http_failed);
    EXPECT_THAT(error.what(), HasSubstr("certificate"));
  }
}

TEST_F(TlsTest, ANewConfigurationHoldsFromTheNextConnectionOn) {
  EXPECT_EQ(curl(url("http")), "secret");
  server_.configure(load(tls_));
  EXPECT_EQ(curl("--cacert server.crt " + url("https")), "secret");
  server_.configure(load("tls_server_config: {cert_file: client.crt, key_file: client.key}"));
  EXPECT_EQ(curl("--cacert server.crt " + url("https")), "exit 60") << "another certificate";
}

}  // namespace
}  // namespace pgrm::http
