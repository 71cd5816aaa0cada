"""NVIDIA's desktop and server cards, where ``pynvml`` is importable."""

from typing import Optional

from cs3d_ros.power.sources import PowerSource


class NvmlSource(PowerSource):
    """
    Cards that NVIDIA's management library knows: board power, one rail per card.

    From Ampere on the library answers with the mean of the last second.

    Source: NVIDIA, NVML API reference, ``nvmlDeviceGetPowerUsage`` (mW).
    """

    name = 'nvml'
    most_w = 3000.0  # several times the largest card's limit

    def __init__(self, nvml):
        self._nvml = nvml
        self._handles = {}
        refusals = []
        try:
            nvml.nvmlInit()
            for index in range(nvml.nvmlDeviceGetCount()):
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                try:
                    nvml.nvmlDeviceGetPowerUsage(handle)
                    self._handles['gpu{}'.format(index)] = handle
                except nvml.NVMLError as error:  # the card of a Jetson, for one, has no meter
                    refusals.append('gpu{} tells no power: {}'.format(index, error))
        except nvml.NVMLError as error:
            refusals.append('NVML does not answer: {}'.format(error))
        super().__init__(self._handles, problem='; '.join(refusals) or None)

    def _watts(self, rail: str, now_s: float) -> Optional[float]:
        try:
            return self._nvml.nvmlDeviceGetPowerUsage(self._handles[rail]) * 1e-3  # mW
        except self._nvml.NVMLError as error:
            raise OSError('NVML: {}'.format(error)) from error


def find_nvml() -> Optional[NvmlSource]:
    """Return the source over all cards, None where the library's binding is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    return NvmlSource(pynvml)
