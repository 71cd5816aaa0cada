# `make` alone explains the targets. What they need is made by scripts/bootstrap.py, once.

PYTHON ?= python3
BOOTSTRAP = @$(PYTHON) scripts/bootstrap.py
RUN = $(PYTHON) scripts/bootstrap.py run

.PHONY: help venv demo test lint sanitize bench images-check clean distclean

help:
	@echo 'make demo                     a face, its events, /emotion: all of it over DDS, live'
	@echo 'make demo VIDEO=face.mp4      the same from a video of a face'
	@echo 'make demo WEBCAM=0             the same of what camera 0 sees, live, until Ctrl-C'
	@echo 'make demo RECORDING=x.raw     the same from an event recording (.aedat4, .h5, .hdf5, .npz,'
	@echo '                              .raw, .db3, .mcap, or the folder of a bag)'
	@echo 'make test                     every test: parts, nodes over DDS, training, Python 3.6 and 3.8'
	@echo 'make test TRAINING=0          without the training tests, and without PyTorch'
	@echo 'make lint                     format, linter, Python 3.6 floor, import walls'
	@echo 'make sanitize                 tests of the kernels under AddressSanitizer'
	@echo 'make bench                    speed of the parts beside their peers'
	@echo 'make images-check             are there wheels for the images of docker/? Needs the network'
	@echo 'make venv                     only make .venv; then: . .venv/bin/activate'
	@echo 'make clean                    remove what was built; make distclean: .venv as well'
	@echo
	@echo 'The first run fills .venv (ROS 2 from PyPI, unless a ROS distribution is sourced).'
	@echo 'PYTHON=python3.12 chooses another Python, 3.10 to 3.13.'

venv:
	$(BOOTSTRAP) venv

demo:
	$(BOOTSTRAP) venv
	@$(RUN) cs3d demo $(if $(VIDEO),--video '$(VIDEO)') $(if $(RECORDING),--recording '$(RECORDING)') \
		$(if $(WEBCAM),--webcam '$(WEBCAM)')

test:
	@$(PYTHON) scripts/run_tests.py $(if $(filter 0,$(TRAINING)),--no-training)

lint:
	$(BOOTSTRAP) venv lint
	@$(RUN) ruff format --check --output-format concise .
	@$(RUN) ruff check .
	@$(RUN) vermin -q -t=3.6- --eval-annotations --no-tips --violations cs3d_ros launch
	@$(RUN) python scripts/house_rules.py

sanitize:
	@$(PYTHON) scripts/sanitize.py

bench:
	$(BOOTSTRAP) venv test bench
	@$(RUN) python -m benchmarks

images-check:
	$(BOOTSTRAP) venv
	@$(RUN) python scripts/check_images.py

clean:
	rm -rf build install log demo_out .pytest_cache .hypothesis .ruff_cache *.egg-info
	find cs3d_ros -name '*.so' -delete -o -name '_*.c' -delete
	find . -name __pycache__ -not -path './.venv*' -exec rm -rf {} +

distclean: clean
	rm -rf .venv .venv-* .venv*.log
