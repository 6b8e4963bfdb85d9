# SPDX-License-Identifier: Apache-2.0
# The two commands: `make demo` and `make test`. All others are steps of theirs, or `make help`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

# Built programs, and what is worth keeping between builds (images, packages, a key to sign with).
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export GLEANER_CACHE ?= $(HOME)/.cache/gleaner
export GLEANER_PROGRAMS := $(TARGET)/debug
export GLEANER_KEY := $(GLEANER_CACHE)/keys/signing.key
KEEP_ENV := GLEANER_CACHE=$(GLEANER_CACHE) GLEANER_PROGRAMS=$(GLEANER_PROGRAMS) GLEANER_KEY=$(GLEANER_KEY) \
	$(if $(GLEANER_MIRROR),GLEANER_MIRROR=$(GLEANER_MIRROR))
IMAGES := $(TARGET)/debug/images
PREFIX ?= /usr/local

# One selection for building and testing, so that nothing is built twice.
WORKSPACE := --workspace --features node-init/libvirt

# The laboratory needs root for its private networks; everything else does not.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Cargo runs tests through this, so that only they are root.
ifneq ($(SUDO),)
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER := sudo env $(KEEP_ENV)
endif

# node-init in RAM, and on systems that an installer made: one static program. In node images, and what speaks to libvirt
# anywhere: dynamic.
STATIC := $(TARGET)/x86_64-unknown-linux-gnu/node/node-init
DYNAMIC := $(TARGET)/node/node-init

# Debian's packages, by what needs them. Python runs the programs that judge answer files; bsdtar (libarchive-tools) and
# gpgv open and check the media of installers; sgdisk (gdisk) and fsck.fat (dosfstools) judge what is put on disks.
PACKAGES := gcc libc6-dev pkg-config libvirt-dev \
	mmdebstrap debian-archive-keyring ca-certificates uidmap \
	qemu-system-x86 ovmf iproute2 dnsmasq-base nftables curl zstd openssh-client \
	python3 python3-pip libarchive-tools gpgv gdisk dosfstools

.PHONY: help demo test test-long bench build image-builder programs node-init prepare images plain-image cloud-image boot-stick lint deps install-packages install

help: ## Show what there is
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

demo: images ## Two virtual PCs, from an empty disk to a node
	$(SUDO) env $(KEEP_ENV) DEMO_KEEP=$(DEMO_KEEP) $(TARGET)/debug/demo

test: images plain-image cloud-image ## Everything that must pass, virtual PCs included
	cargo test $(WORKSPACE) --no-fail-fast

test-long: images plain-image cloud-image ## The same stories at many more moments; takes hours
	cargo test -p pxe -p provisioner -p tests --no-fail-fast -- --ignored

bench: images ## Figures, each beside a program that people know
	cargo build --release -p provisioner -p tests --bin provisioner --bin bench
	$(SUDO) env $(KEEP_ENV) GLEANER_PROGRAMS=$(TARGET)/release $(TARGET)/release/bench $(SECTIONS)

build: programs node-init ## All programs

images: build prepare ## RAM environment and node image, in the cache
	$(IMAGES) build ram --out $(GLEANER_CACHE)/ram --node-init $(STATIC) --node-init-libvirt $(DYNAMIC)-libvirt
	$(IMAGES) build node --out $(GLEANER_CACHE)/node --node-init $(DYNAMIC)

plain-image: images ## The node image for nodes without guests, in the cache
	$(IMAGES) build node --role plain --out $(GLEANER_CACHE)/plain --node-init $(DYNAMIC)

cloud-image: prepare ## What stands for a distribution's ready-made image in the tests, in the cache
	$(IMAGES) build node --recipe tests/cloud-image.toml --out $(GLEANER_CACHE)/cloud --disk --key $(GLEANER_CACHE)/cloud/maker.key

boot-stick: image-builder ## A stick for PCs that cannot boot from the network by themselves: boot-stick.img
	$(IMAGES) build boot-stick --out boot-stick.img

# The Debian packages that images are made of are fetched and unpacked while cargo builds the rest.
MAKEFLAGS += --jobs=2
prepare: image-builder
	$(IMAGES) prepare

image-builder: deps
	cargo build $(WORKSPACE) --bin images

programs: image-builder
	cargo build $(WORKSPACE)

node-init: programs
	RUSTFLAGS="-C target-feature=+crt-static" \
		cargo build --profile node -p node-init --target x86_64-unknown-linux-gnu
	cargo build --profile node -p node-init --features libvirt

lint: deps ## What a reviewer should not have to say
	cargo fmt --all --check
	cargo clippy $(WORKSPACE) --all-targets -- -D warnings
	if cargo deny --version >/dev/null 2>&1; then cargo deny check; else echo "cargo-deny is not installed: licences and advisories were NOT checked"; fi

deps: ## What is needed of Debian's packages
	@missing=$$(for package in $(PACKAGES); do \
		dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; done); \
	[ -z "$$missing" ] || $(MAKE) --no-print-directory install-packages MISSING="$$(echo $$missing)"

# A qemu-utils from backports blocks the qemu-system-x86 of the release: both are then named in the release's version.
install-packages:
	$(SUDO) apt-get update -q
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends --allow-downgrades $(MISSING) \
		$$(wanted=$$(apt-cache policy qemu-system-x86 | sed -n 's/ *Candidate: //p'); \
			case "$(MISSING)" in *qemu-system-x86*) echo qemu-system-x86=$$wanted; \
			if dpkg-query -W qemu-utils >/dev/null 2>&1; then apt-cache madison qemu-utils | \
				awk -v base="$${wanted%+b*}" 'index($$3, base) == 1 { print "qemu-utils=" $$3; exit }'; fi;; esac)

install: deps ## Into PREFIX (/usr/local), with the systemd units
	cargo build --release -p provisioner -p images
	$(SUDO) install -D -t $(DESTDIR)$(PREFIX)/bin $(TARGET)/release/provisioner $(TARGET)/release/images
	$(SUDO) install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system \
		provisioner/systemd/gleaner-provisioner.service provisioner/systemd/gleaner-packages.service
	$(SUDO) install -D -m 644 provisioner/systemd/gleaner.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/gleaner.conf
	$(SUDO) install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/gleaner provisioner/gleaner.example.toml
