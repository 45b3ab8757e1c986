#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs a command as on a machine that has what README.md asks for and nothing more: without
# cmake, ninja, git, pip, and without anything of ROS. Usage: tools/bare.sh COMMAND...
set -eu
hidden='cmake* ctest* cpack* ccmake* ninja* git* pip* uv uvx ros* ament* colcon* conda*'
python=$(python3 -c 'import sys; print(sys.executable)')
# A lasting place: CMake remembers where it found the compiler.
folder=$(cd "$(dirname "$0")/.." && pwd)/build/bare
rm -rf "$folder"
mkdir -p "$folder"
for bin in /usr/local/bin /usr/bin /bin; do
  find "$bin" -maxdepth 1 ! -type d -exec ln -s -f -t "$folder" {} +
done
(cd "$folder" && rm -f $hidden python3)
# A link would make the virtual environment depend on this folder; pyenv's shims look at PATH.
printf '#!/bin/sh\nexec "%s" "$@"\n' "$python" > "$folder/python3"
chmod +x "$folder/python3"

for name in $(env | sed -n 's/^\(_\?ROS_[A-Z_]*\|RMW_[A-Z_]*\|[A-Z]*_PREFIX_PATH\|PYTHONPATH\)=.*/\1/p'); do
  unset "$name"
done
unset LD_LIBRARY_PATH VIRTUAL_ENV
export PATH="$folder"
for tool in cmake ninja git ros2 colcon; do
  if command -v "$tool"; then echo "$0: $tool is not hidden" >&2; exit 1; fi
done
exec "$@"
