"""
What the Python API of TensorRT lacks in each generation, of what the fakes know.

Source: the bindings 8.6.1, 10.13.0.35 and 11.4.0.106, with which ``test_binding_names.py``
compares, and python/src of github.com/NVIDIA/TensorRT at tag 8.2.1.
"""

VERSIONS = {'8.2': '8.2.1.8', '8.6': '8.6.1', '10': '10.13.0.35', '11': '11.4.0.106'}
GENERATIONS = tuple(VERSIONS)

_BINDINGS = {
    'num_bindings',
    'get_binding_name',
    'get_binding_index',
    'get_binding_shape',
    'get_binding_dtype',
    'binding_is_input',
}
_NAMES = {
    'num_io_tensors',
    'get_tensor_name',
    'get_tensor_shape',
    'get_tensor_dtype',
    'get_tensor_mode',
}
# What a generation lacks, by class; '' is the module.
LACKS = {
    '8.2': {
        '': {'MemoryPoolType', 'TensorIOMode', 'IProgressMonitor'},
        'IBuilderConfig': {'set_memory_pool_limit', 'progress_monitor'},
        'NetworkDefinitionCreationFlag': {'STRONGLY_TYPED'},
        'ICudaEngine': _NAMES,
        'IExecutionContext': {'set_tensor_address', 'execute_async_v3'},
    },
    '8.6': {
        '': {'IProgressMonitor'},
        'IBuilderConfig': {'progress_monitor'},
        'NetworkDefinitionCreationFlag': {'STRONGLY_TYPED'},
    },
    '10': {
        'IBuilderConfig': {'max_workspace_size'},
        'ICudaEngine': _BINDINGS,
        'IExecutionContext': {'execute_async_v2'},
    },
    '11': {
        'Builder': {'platform_has_fast_fp16', 'platform_has_fast_int8'},
        'BuilderFlag': {'FP16', 'INT8'},
        'IBuilderConfig': {'max_workspace_size'},
        'NetworkDefinitionCreationFlag': {'EXPLICIT_BATCH'},
        'ICudaEngine': _BINDINGS,
        'IExecutionContext': {'execute_async_v2'},
    },
}
ENUMS = {
    'DataType': ('FLOAT', 'HALF', 'INT8', 'INT32', 'BOOL'),
    'BuilderFlag': ('FP16', 'INT8', 'TF32'),
    'NetworkDefinitionCreationFlag': ('EXPLICIT_BATCH', 'STRONGLY_TYPED'),
    'MemoryPoolType': ('WORKSPACE',),
    'LayerType': ('CONVOLUTION', 'QUANTIZE', 'DEQUANTIZE'),
    'TensorIOMode': ('NONE', 'INPUT', 'OUTPUT'),
}
