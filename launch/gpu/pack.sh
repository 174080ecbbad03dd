# launch/gpu_check --pack: executables and the libraries that a bare machine lacks, in one archive. Sourced.
# shellcheck shell=bash disable=SC2154

pack_limit_bytes=$((60 * 1024 * 1024))

# What every Linux has, and what comes with LibTorch.
is_elsewhere() {  # LIBRARY'S PATH
  case ${1##*/} in
    libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libutil.so.* | libresolv.so.* | ld-linux*) return 0 ;;
    libstdc++.so.* | libgcc_s.so.*) return 0 ;;  # in lib-newer, for systems whose own are too old
  esac
  [[ $1 = "$torch_site"/* || $1 = "$torch_site_real"/* ]]
}

libraries_of() { ldd "$@" 2>/dev/null | awk '/=> \//{print $3}' | sort -u; }

# Open MPI with the plugins that shared memory and TCP need, from the folder of its libmpi.
copy_open_mpi() {  # DEST
  local dest=$1 plugins pmix file
  plugins=$(compgen -G "$(dirname "$libmpi")/openmpi/lib/openmpi*" || compgen -G "$(dirname "$libmpi")/openmpi" || true)
  plugins=$(head -n 1 <<<"$plugins")
  [[ -d $plugins ]] || die 69 "the plugins of Open MPI are not beside $libmpi"
  mkdir -p "$dest/openmpi" "$dest/pmix" "$dest/share" "$dest/etc"
  for file in orterun orted; do
    cp -L "$(command -v $file)" "$dest/bin/"
  done
  ln -s orterun "$dest/bin/mpirun"
  for file in "$plugins"/mca_*.so; do
    case $file in
      *ucx* | *ofi* | *psm* | *openib* | *scoll* | *spml* | *sshmem* | *memheap* | *monitoring* | *flux* | *jsm* | *gridengine*) ;;
      *) cp "$file" "$dest/openmpi/" ;;
    esac
  done
  pmix=$(compgen -G "$(dirname "$libmpi")/pmix2/lib/pmix" || true)
  [[ -z $pmix ]] || cp -L "$pmix"/*.so "$dest/pmix/"
  cp -r /usr/share/openmpi "$dest/share/"
  for file in /usr/share/pmix*; do [[ ! -d $file ]] || cp -r "$file" "$dest/share/"; done
  cp -rL /etc/openmpi "$dest/etc/" 2>/dev/null || true
  find "$dest/share" -type l -delete
}

# Sourced there with LARGO_TORCH_ROOT set. Paths follow from its own place.
write_environment() {
  cat <<'ENV'
# Sourced with LARGO_TORCH_ROOT, the folder of the torch that the pack is for. Sets what Open MPI and Largo need.
pack=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
export OPAL_PREFIX=$pack OPAL_BINDIR=$pack/bin OPAL_LIBDIR=$pack/lib OPAL_PKGLIBDIR=$pack/openmpi
export OPAL_DATADIR=$pack/share OPAL_PKGDATADIR=$pack/share/openmpi OPAL_SYSCONFDIR=$pack/etc/openmpi PMIX_INSTALL_PREFIX=$pack
export OMPI_MCA_mca_base_component_path=$pack/openmpi PMIX_MCA_mca_base_component_path=$pack/pmix
path=$pack/lib:$LARGO_TORCH_ROOT/lib
for folder in "$LARGO_TORCH_ROOT"/../nvidia/*/lib; do
  [[ ! -d $folder ]] || path=$path:$(cd "$folder" && pwd -P)
done
export PATH=$pack/bin:$PATH LD_LIBRARY_PATH=$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# Symbols that this system's C++ library lacks are in the one that the pack was built with.
if ldd "$pack/bin/largo" 2>&1 | grep -q 'GLIBCXX.*not found\|CXXABI.*not found\|libstdc++.*not found'; then
  export LD_LIBRARY_PATH=$pack/lib-newer:$LD_LIBRARY_PATH
fi
unset pack path folder
ENV
}

# The newest glibc that any of the files asks for.
newest_glibc() { objdump -T "$@" 2>/dev/null | grep -oE 'GLIBC_[0-9.]+' | sort -u -V | tail -n 1; }

make_pack() {
  local file=$1 folder work pack program library libmpi torch_site torch_site_real size
  [[ $file = *.tar.gz ]] || die 2 "--pack $file; legal: a name that ends with .tar.gz"
  mkdir -p "$(dirname "$file")"
  # LARGO_BUILD: a folder that is built already.
  folder=${LARGO_BUILD:-}
  [[ -n $folder ]] || folder=$("$root/launch/build" cuda largo nn_gpu_test data_gpu_test nccl_communicator_gpu_test)
  folder=$(cd "$folder" && pwd -P)
  torch=$(sed -n 's/^TORCH_ROOT:[A-Z]*=//p' "$folder/CMakeCache.txt")
  torch_site=$(cd "$torch/.." && pwd) torch_site_real=$(cd "$torch/.." && pwd -P)
  [[ -e $torch/lib/libtorch_cuda.so ]] || die 69 "$folder is no build with CUDA"

  work=$(mktemp -d)
  # shellcheck disable=SC2064  # expands now
  trap "rm -rf '$work'" EXIT
  pack=$work/largo-pack
  mkdir -p "$pack"/{bin,lib,lib-newer,tests/cli}
  python3 "$helpers/tests_of_build.py" "$folder" --pack >"$pack/tests.tsv"
  cp "$folder/largo" "$pack/bin/"
  for program in nn_gpu_test data_gpu_test nccl_communicator_gpu_test; do
    cp "$(find "$folder/tests" -name "$program" -type f -perm -u+x | head -n 1)" "$pack/bin/" ||
      die 69 "$program is not built in $folder"
  done
  cp -r "$root/tests/gpu" "$pack/tests/gpu"
  cp "$root/tests/cli/common.sh" "$pack/tests/cli/"
  mkdir -p "$pack/launch"
  cp -r "$root/launch/gpu_check" "$root/launch/gpu" "$pack/launch/"
  rm -rf "$pack/tests/gpu/"*.cpp "$pack/launch/gpu/__pycache__"
  cp "$root/LICENSE" "$pack/"
  # Every program that a test names must be in it.
  while read -r program; do
    [[ -e $pack/${program#@ROOT@/} ]] || die 70 "tests.tsv names $program, which the pack does not hold"
  done < <(grep -o '@ROOT@/[^[:space:]]*' "$pack/tests.tsv" | sort -u)

  libmpi=$(libraries_of "$folder/largo" | grep '/libmpi\.so') || die 69 "$folder/largo is linked to no shared libmpi"
  libmpi=$(dirname "$libmpi")/$(basename "$libmpi")
  copy_open_mpi "$pack"
  for library in $(libraries_of "$pack"/bin/* "$pack"/openmpi/*.so "$pack"/pmix/*.so "$libmpi"); do
    is_elsewhere "$library" || cp -L "$library" "$pack/lib/"
  done
  # PMIx is found by name.
  library=$(dirname "$libmpi")/libpmix.so.2
  [[ ! -e $library ]] || cp -L "$library" "$pack/lib/"
  for library in $(libraries_of "$folder/largo" | grep -E '/(libstdc\+\+|libgcc_s)\.so'); do cp -L "$library" "$pack/lib-newer/"; done
  find "$pack/bin" -type f -exec strip {} + 2>/dev/null || true
  find "$pack/lib" "$pack/lib-newer" "$pack/openmpi" "$pack/pmix" -name '*.so*' -exec strip --strip-unneeded {} + 2>/dev/null || true
  for program in largo nn_gpu_test data_gpu_test nccl_communicator_gpu_test; do
    python3 "$helpers/relocate.py" "$pack/bin/$program" "\$ORIGIN/../lib"
  done

  write_environment >"$pack/env.sh"
  cat >"$pack/manifest.txt" <<TEXT
Largo for a machine with GPUs, without LibTorch: unpack, and start launch/gpu_check
commit: $(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)$([[ -z $(git -C "$root" status --porcelain 2>/dev/null | head -n 1) ]] || echo " and changes")
torch: $(torch_version "$torch")
needs: $(newest_glibc "$pack"/bin/* "$pack"/lib/* "$pack"/openmpi/*.so), $(uname -m)
open mpi: $(orterun --version | head -n 1)
TEXT
  tar czf "$file.tmp" -C "$work" largo-pack
  size=$(stat -c %s "$file.tmp")
  if ((size > pack_limit_bytes)); then
    rm -f "$file.tmp"
    die 70 "the pack would have $size bytes; at most $pack_limit_bytes are allowed"
  fi
  mv "$file.tmp" "$file"
  cat "$pack/manifest.txt" >&2
  say "$(du -sh "$pack" | cut -f 1) in $((size / 1024)) KiB: $file"
}
