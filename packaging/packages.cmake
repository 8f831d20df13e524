# Settings of cpack.
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_NAME ${PROJECT_NAME})
set(CPACK_PACKAGE_CONTACT ${PGRM_MAINTAINER})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "planned cutover of a live PostgreSQL to a bigger server")
set(CPACK_PACKAGE_DESCRIPTION
"pgrm-agent moves the primary role of a PostgreSQL pair to its streaming
replica. It checks every prerequisite, stops writes for a fraction of a second,
proves that the replica has everything, promotes it, and leaves the old primary
read-only. If anything fails before the promotion, everything is put back.

pgrm-exporter watches the pair for Prometheus and for people. pgrm-loadgen
plays the application, and proves that no acknowledged write was lost.
Dashboards, alerting rules, and the SQL and scripts for both servers are
included.")
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR ON)  # /etc is outside of the prefix
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
# Runs on the files before they are packed: what is Debian's alone, and one time for all of them.
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/stage.cmake)
set(CPACK_POST_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/owned_by_root.cmake)
set(CPACK_PGRM_PACKAGING ${CMAKE_CURRENT_LIST_DIR})
set(CPACK_PGRM_RELEASE ${PGRM_PACKAGE_RELEASE})

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${PGRM_PACKAGE_RELEASE})
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "python3, systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS postgresql-client)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "prometheus, prometheus-alertmanager, pgbouncer")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(conffiles ${CMAKE_CURRENT_BINARY_DIR}/debian/conffiles)
list(TRANSFORM CONFIGURATION REPLACE "(.+)" "/etc/${PROJECT_NAME}/\\1\n" OUTPUT_VARIABLE lines)
string(CONCAT lines ${lines})
file(CONFIGURE OUTPUT ${conffiles} CONTENT "${lines}" @ONLY)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${conffiles}
  ${CMAKE_CURRENT_LIST_DIR}/debian/postinst ${CMAKE_CURRENT_LIST_DIR}/debian/prerm ${CMAKE_CURRENT_LIST_DIR}/debian/postrm)

set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_RELEASE ${PGRM_PACKAGE_RELEASE})
set(CPACK_RPM_PACKAGE_LICENSE Apache-2.0)
set(CPACK_RPM_PACKAGE_RELOCATABLE OFF)
set(CPACK_RPM_PACKAGE_GROUP Applications/Databases)
set(CPACK_RPM_PACKAGE_REQUIRES_PRE systemd)
list(TRANSFORM CONFIGURATION REPLACE "(.+)" "%config(noreplace) /etc/${PROJECT_NAME}/\\1" OUTPUT_VARIABLE CPACK_RPM_USER_FILELIST)
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION
  /etc /usr /usr/bin /usr/lib /usr/share /usr/share/doc /usr/share/man /usr/share/man/man1 /usr/share/bash-completion
  /usr/share/bash-completion/completions /usr/lib/systemd /usr/lib/systemd/system /usr/lib/sysusers.d /usr/lib/tmpfiles.d)
set(CPACK_RPM_POST_INSTALL_SCRIPT_FILE ${CMAKE_CURRENT_LIST_DIR}/rpm/post)
set(CPACK_RPM_PRE_UNINSTALL_SCRIPT_FILE ${CMAKE_CURRENT_LIST_DIR}/rpm/preun)
set(CPACK_RPM_POST_UNINSTALL_SCRIPT_FILE ${CMAKE_CURRENT_LIST_DIR}/rpm/postun)

include(CPack)
