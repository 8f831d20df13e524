list(APPEND UNIT_SOURCES
  ${CMAKE_CURRENT_SOURCE_DIR}/core/command_line_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/config_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/conninfo_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/error_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/http_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/log_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/lsn_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/pairs_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/replication_catch_up_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/session_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/signals_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/socket_watchdog_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/table_test.cc
  ${CMAKE_CURRENT_SOURCE_DIR}/core/wait_test.cc)
