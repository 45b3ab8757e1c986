# SPDX-License-Identifier: Apache-2.0
# For builds against the ROS wheels; a real ROS 2 needs none of this.
# Use: -DCMAKE_PROJECT_TOP_LEVEL_INCLUDES=<this file> (CMake >= 3.24).
#
# - The wheels carry include folders of the machine that they were built on, which CMake refuses:
#   drop those that do not exist here from the imported targets.
# - The messages export numpy's include folder, which CMake refuses where the virtual environment
#   lies inside the checkout: keep it for this build only.
function(_igs_mend_include_folders)
  get_property(imported DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY IMPORTED_TARGETS)
  get_property(own DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS imported own)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(folders)
      set(kept "")
      foreach(folder IN LISTS folders)
        cmake_path(IS_PREFIX CMAKE_SOURCE_DIR "${folder}" inside)
        if(target IN_LIST own AND inside)
          list(APPEND kept "$<BUILD_INTERFACE:${folder}>")
        elseif(NOT IS_ABSOLUTE "${folder}" OR EXISTS "${folder}")
          list(APPEND kept "${folder}")
        endif()
      endforeach()
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL _igs_mend_include_folders)
