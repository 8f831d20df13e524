# The exporter's tests, and those of the parts of core that judge the pair.
list(APPEND UNIT_SOURCES
  ${CMAKE_CURRENT_SOURCE_DIR}/core/metrics_endpoint_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/metrics_text_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/web_config_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/replication_json_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/replication_lag_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/replication_sample_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/replication_sync_streak_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/catalogue_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/fleet_pages_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/fleet_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/gauges_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/observation_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/options_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/pages_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/pairs_reload_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/pool_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/sampler_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/exporter/watcher_test.cc)
