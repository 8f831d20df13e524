list(APPEND UNIT_SOURCES
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/client_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/control_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/histogram_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/ledger_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/loadgen_metrics_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/loadgen_report_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/pacer_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/reads_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/shop_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/stats_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/verify_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/loadgen/workload_test.cc)
