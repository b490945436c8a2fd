"""Native TensorRT: engines built ahead of time, kept in a cache, and run without torch.

One code path serves `tensorrt` 10.3 to 11.x (data center, Jetson) and `tensorrt_rtx` 1.x
(workstations). Networks are strongly typed in all of them: the precision is what the ONNX graph
says, and no builder flag changes it.
"""
