# Run by cpack on the staged files, in CPACK_TEMPORARY_INSTALL_DIRECTORY, before it packs them.
set(stage ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set(epoch $ENV{SOURCE_DATE_EPOCH})
if(NOT epoch)
  string(TIMESTAMP epoch %s UTC)
endif()

if(CPACK_GENERATOR STREQUAL DEB)
  # Debian's own changelog, and the reasons for what lintian would say.
  set(ENV{SOURCE_DATE_EPOCH} ${epoch})
  set(ENV{LC_ALL} C)
  string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
  set(changelog ${stage}/usr/share/doc/${CPACK_PACKAGE_NAME}/changelog.Debian)
  file(WRITE ${changelog} "${CPACK_PACKAGE_NAME} (${CPACK_PACKAGE_VERSION}-${CPACK_PGRM_RELEASE}) unstable; urgency=medium

  * Version ${CPACK_PACKAGE_VERSION}; changelog.gz says what is new.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
  execute_process(COMMAND gzip -9 -n ${changelog} COMMAND_ERROR_IS_FATAL ANY)
  file(COPY ${CPACK_PGRM_PACKAGING}/debian/lintian-overrides DESTINATION ${stage}/usr/share/lintian/overrides)
  file(RENAME ${stage}/usr/share/lintian/overrides/lintian-overrides ${stage}/usr/share/lintian/overrides/${CPACK_PACKAGE_NAME})
endif()

# The same bytes whenever and wherever it was built.
execute_process(COMMAND find ${stage} -exec touch --no-dereference --date=@${epoch} {} + COMMAND_ERROR_IS_FATAL ANY)
