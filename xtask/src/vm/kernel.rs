//! A kernel to boot: its image, and its modules in load order.
//!
//! A series means Debian's newest package of it that was downloaded, or of those there are. A
//! package is unpacked, not installed, below the cache, and used from there ever after: to get
//! newer ones, delete `.cache/kernels`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::apt::Apt;
use super::tool;
use crate::architecture::Architecture;
use crate::workspace::run_checked;

/// A series of kernels: its Debian release, and what stands around the number in the name of its packages;
/// the architecture stands in front of the suffix.
struct Series {
    name: &'static str,
    release: &'static str,
    prefix: &'static str,
    flavour: &'static str,
    suffix: &'static str,
}

const SERIES: [Series; 3] = [
    Series {
        name: "5.10",
        release: "bullseye",
        prefix: "linux-image-5.10.0-",
        flavour: "-cloud-",
        suffix: "",
    },
    Series {
        name: "6.1",
        release: "bookworm",
        prefix: "linux-image-6.1.0-",
        flavour: "-cloud-",
        suffix: "-unsigned",
    },
    Series {
        name: "6.12",
        release: "bookworm",
        prefix: "linux-image-6.12.",
        flavour: "+deb12-cloud-",
        suffix: "-unsigned",
    },
];

/// The release whose programs run in guests of another architecture.
const RELEASE: &str = "bookworm";

/// The suites in which a package without a given suite is searched.
const SUITES: [&str; 2] = ["bookworm", "bullseye"];

/// The packages of one kernel depend on each other by names that begin so.
const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];

/// The kernels in a cache, and where to get more.
#[derive(Debug)]
pub(crate) struct Kernels {
    cache: PathBuf,
    architecture: Architecture,
    suites: HashMap<String, Apt>,
}

impl Kernels {
    /// Those of an architecture in the directory `cache`, which need not exist.
    pub(crate) fn new(cache: PathBuf, architecture: Architecture) -> Self {
        Self { cache, architecture, suites: HashMap::new() }
    }

    /// The architecture.
    pub(crate) fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Packages of a Debian release with all that they depend on, unpacked below a directory of this cache,
    /// and used from there ever after.
    ///
    /// # Errors
    /// One of them cannot be downloaded.
    pub(crate) fn programs(&mut self, packages: &[&str]) -> anyhow::Result<PathBuf> {
        let root = self.cache.join(format!("programs-{}", self.architecture.debian()));
        if !root.is_dir() {
            let partial = root.with_extension("partial");
            if partial.exists() {
                fs::remove_dir_all(&partial).context("cannot remove partial programs")?;
            }
            self.suite(RELEASE)?.unpack(packages, &partial)?;
            fs::rename(&partial, &root).context("cannot keep the programs")?;
        }
        Ok(root)
    }

    /// The kernel that a user names: a series, a package or a directory.
    ///
    /// # Errors
    /// The kernel does not exist, or cannot be downloaded.
    pub(crate) fn get(&mut self, name: &str) -> anyhow::Result<Kernel> {
        if let Some(series) = SERIES.iter().find(|series| series.name == name) {
            return self.newest(series);
        }
        let directory = Path::new(name);
        if directory.is_dir() {
            return Kernel::in_directory(directory);
        }
        if !name.starts_with("linux-") {
            let series = SERIES.map(|series| series.name).join(", ");
            bail!("{name:?} is not a kernel: neither {series}, nor a package, nor a directory");
        }
        let (package, suite) =
            name.split_once('/').map_or((name, None), |(name, suite)| (name, Some(suite)));
        if self.unpacked(package).is_dir() {
            return Kernel::in_directory(&self.unpacked(package));
        }
        for suite in suite.map_or(SUITES.to_vec(), |suite| vec![suite]) {
            if self.suite(suite)?.packages(package)?.iter().any(|found| found == package) {
                return self.download(package, suite);
            }
        }
        bail!("no package {package} in {}", suite.unwrap_or(&SUITES.join(" or ")))
    }

    fn newest(&mut self, series: &Series) -> anyhow::Result<Kernel> {
        let cached = fs::read_dir(&self.cache).into_iter().flatten().flatten();
        let cached = cached.filter_map(|entry| entry.file_name().into_string().ok());
        if let Some(package) = series.newest(self.architecture, cached) {
            return Kernel::in_directory(&self.unpacked(&package));
        }
        let packages = self.suite(series.release)?.packages(series.prefix)?;
        let package = series.newest(self.architecture, packages.into_iter());
        let package = package.with_context(|| {
            let suffix = series.suffix(self.architecture);
            format!("{} has no {}*{suffix}", series.release, series.prefix)
        })?;
        self.download(&package, series.release)
    }

    fn unpacked(&self, package: &str) -> PathBuf {
        self.cache.join(package)
    }

    fn suite(&mut self, suite: &str) -> anyhow::Result<&Apt> {
        if !self.suites.contains_key(suite) {
            let directory = self.cache.join("apt").join(self.architecture.debian()).join(suite);
            let apt = Apt::update(suite, self.architecture, &directory)?;
            self.suites.insert(suite.to_owned(), apt);
        }
        self.suites.get(suite).context("a suite is lost")
    }

    /// Unpacks a package and the parts of the same kernel that it depends on.
    fn download(&mut self, package: &str, suite: &str) -> anyhow::Result<Kernel> {
        let partial = self.cache.join(format!("partial-{package}"));
        let unpacked = self.unpacked(package);
        let apt = self.suite(suite)?;
        if partial.exists() {
            fs::remove_dir_all(&partial).context("cannot remove a partial kernel")?;
        }
        let mut needed = vec![package.to_owned()];
        let mut next = 0;
        while let Some(package) = needed.get(next) {
            eprintln!("xtask: downloading {package} from {suite}");
            let file = apt.download(package)?;
            run_checked(tool("dpkg-deb")?.arg("-x").arg(&file).arg(&partial))?;
            let depends = run_checked(tool("dpkg-deb")?.arg("-f").arg(&file).arg("Depends"))?;
            let _ = fs::remove_file(&file);
            for part in parts(&depends) {
                if !needed.contains(&part) {
                    needed.push(part);
                }
            }
            next += 1;
        }
        Kernel::in_directory(&partial).with_context(|| format!("{package} cannot be used"))?;
        fs::rename(&partial, &unpacked).context("cannot keep the kernel")?;
        Kernel::in_directory(&unpacked)
    }
}

impl Series {
    /// What stands behind the number.
    fn suffix(&self, architecture: Architecture) -> String {
        format!("{}{}{}", self.flavour, architecture.debian(), self.suffix)
    }

    fn newest(
        &self,
        architecture: Architecture,
        packages: impl Iterator<Item = String>,
    ) -> Option<String> {
        let suffix = self.suffix(architecture);
        let number = |package: &str| -> Option<u32> {
            package.strip_prefix(self.prefix)?.strip_suffix(&suffix)?.parse().ok()
        };
        let numbered = packages.filter_map(|package| Some((number(&package)?, package)));
        numbered.max().map(|(_, package)| package)
    }
}

/// The packages of the same kernel in a list of dependencies.
fn parts(depends: &str) -> Vec<String> {
    let names = depends.split([',', '|']).filter_map(|each| each.split_whitespace().next());
    let is_part = |name: &&str| PARTS.iter().any(|part| name.starts_with(part));
    names.filter(is_part).map(str::to_owned).collect()
}

/// A kernel that can be booted.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// As printed by `uname -r`.
    pub(crate) version: String,
    /// The kernel image for QEMU.
    pub(crate) image: PathBuf,
    /// The directory that has lib/modules.
    base: PathBuf,
}

impl Kernel {
    /// The kernel of an unpacked package: an image in boot/ and modules in lib/modules, or both
    /// in usr/lib/modules.
    ///
    /// # Errors
    /// No kernel or more than one is found.
    pub(crate) fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("no kernel in {}", directory.display());
        let mut images = Vec::new();
        for name in names_in(&directory.join("boot")) {
            if let Some(version) = name.strip_prefix("vmlinuz-") {
                images.push((version.to_owned(), directory.join("boot").join(&name)));
            }
        }
        let bases = [directory.to_owned(), directory.join("usr")];
        if images.is_empty() {
            for modules in bases.iter().map(|base| base.join("lib/modules")) {
                for version in names_in(&modules) {
                    let image = modules.join(&version).join("vmlinuz");
                    if image.is_file() {
                        images.push((version, image));
                    }
                }
            }
        }
        let [(version, image)] = &images[..] else {
            bail!("{}: {} images are found, one is needed", cannot(), images.len());
        };
        let has_modules = |base: &&PathBuf| base.join("lib/modules").join(version).is_dir();
        let base = bases.iter().find(has_modules);
        let base = base.with_context(|| format!("{}: {version} has no modules", cannot()))?;
        let kernel = Self { version: version.clone(), image: image.clone(), base: base.clone() };
        if !kernel.base.join("lib/modules").join(version).join("modules.dep").is_file() {
            run_checked(tool("depmod")?.arg("-b").arg(&kernel.base).arg(version))?;
        }
        Ok(kernel)
    }

    /// The directory of its modules, and its place below lib/modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.base.join("lib/modules").join(&self.version)
    }

    /// The files of a module and of its dependencies, in load order. Empty if this kernel has the
    /// module built in, or lacks it.
    ///
    /// # Errors
    /// When modprobe cannot be started.
    pub(crate) fn files_of(&self, module: &str) -> anyhow::Result<Vec<PathBuf>> {
        let mut modprobe = tool("modprobe")?;
        modprobe.args(["-C", "/dev/null", "-S", &self.version, "-d"]).arg(&self.base);
        modprobe.args(["--show-depends", module]);
        let output = modprobe.output().context("cannot start modprobe")?;
        // It fails for a module that does not exist.
        let text = String::from_utf8_lossy(&output.stdout);
        let file = |line: &str| Some(line.strip_prefix("insmod ")?.trim().into());
        Ok(text.lines().filter_map(file).collect())
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_is_by_number() {
        let newest = |packages: &[&str]| {
            let packages = packages.iter().map(|name| (*name).to_owned());
            SERIES[2].newest(Architecture::X86_64, packages)
        };
        let packages = [
            "linux-image-6.12.9+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.118+deb12-rt-amd64-unsigned",
            "linux-image-6.12.119+bpo-cloud-amd64-unsigned",
            "linux-image-6.12.120+deb12-cloud-arm64-unsigned",
        ];
        assert_eq!(newest(&packages).as_deref(), Some(packages[1]));
        assert_eq!(newest(&packages[2..]), None);
    }

    #[test]
    fn a_kernel_may_be_in_parts() {
        let depends = "linux-binary-7.1+deb13-amd64 (= 7.1-1), linux-modules-7.1+deb13-amd64, \
                       kmod, initramfs-tools (>= 0.1) | linux-initramfs-tool";
        let expected = ["linux-binary-7.1+deb13-amd64", "linux-modules-7.1+deb13-amd64"];
        assert_eq!(parts(depends), expected);
        assert!(parts("kmod, linux-base (>= 4.3~)").is_empty());
    }
}
