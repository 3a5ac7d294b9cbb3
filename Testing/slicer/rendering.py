"""A slice view and a 3D view without a window: what Slicer would draw, as an array of pixels or a PNG."""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy


class View:
    """A window that is never shown. Pixels are (y, x, 3) uint8, y upwards as in Slicer's XY."""

    def __init__(self, size):
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        # The managers crash without one.
        self.window.SetInteractor(vtk.vtkGenericRenderWindowInteractor())

    def manage(self, factory, managers, node):
        """Let Slicer's displayable managers draw what the scene shows in the view of `node`."""
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.group = factory.InstantiateDisplayableManagers(self.renderer)
        self.group.SetMRMLDisplayableNode(node)

    def close(self):
        """Let go of the scene; a view that lives on would add its nodes to the next one."""
        self.group.SetMRMLDisplayableNode(None)
        self.group.SetRenderer(None)
        self.window.Finalize()

    def pixels(self):
        self.window.Render()
        width, height = self.window.GetSize()
        array = vtk.vtkUnsignedCharArray()
        self.window.GetPixelData(0, 0, width - 1, height - 1, 0, array, 0)
        return vtk_to_numpy(array).reshape(height, width, 3).copy()

    def save(self, path):
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        writer = vtk.vtkPNGWriter()
        writer.SetInputConnection(grab.GetOutputPort())
        writer.SetFileName(str(path))
        writer.Write()


class SliceView(View):
    """The plane of a volume's own slices, with segmentations over it."""

    def __init__(self, scene, volume, size=(400, 400)):
        super().__init__(size)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddSliceNode("Red")
        self.logics = vtk.vtkCollection()
        self.logics.AddItem(self.logic)
        slicer.app.applicationLogic().SetSliceLogics(self.logics)
        self.node.SetDimensions(*size, 1)
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        self.node.SetOrientation("Axial")
        self.node.RotateToVolumePlane(volume)
        self.logic.FitSliceToBackground()
        mapper = vtk.vtkImageMapper()
        mapper.SetInputConnection(self.logic.GetImageDataConnection())
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        # Before the managers, or it would lie over their segments.
        self.renderer.AddViewProp(actor)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        self.manage(factory, ["vtkMRMLSegmentationsDisplayableManager2D"], self.node)

    def close(self):
        super().close()
        slicer.app.applicationLogic().SetSliceLogics(None)
        scene, nodes = self.logic.GetMRMLScene(), (self.node, self.logic.GetSliceCompositeNode())
        self.logic.SetMRMLScene(None)
        for node in nodes:  # singletons, which a scene that is closed keeps
            scene.RemoveNode(node)

    def look_at(self, ras):
        self.node.JumpSliceByOffsetting(*ras)

    def ras(self):
        """World RAS mm of every pixel's centre, (y, x, 3)."""
        matrix = self.node.GetXYToRAS()
        to_ras = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
        width, height = self.window.GetSize()
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        return np.stack([x, y, 0 * x, 0 * x + 1], axis=-1) @ to_ras[:3].T


class ThreeDView(View):
    """The surfaces of segmentations, seen from in front and above."""

    def __init__(self, scene, size=(400, 400)):
        super().__init__(size)
        node = scene.AddNewNodeByClass("vtkMRMLViewNode", "View1")
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        self.manage(factory, ["vtkMRMLSegmentationsDisplayableManager3D"], node)

    def look(self):
        self.renderer.ResetCamera()
        camera = self.renderer.GetActiveCamera()
        focus, distance = camera.GetFocalPoint(), camera.GetDistance()
        camera.SetPosition(focus[0], focus[1] + distance, focus[2] + distance / 3)
        camera.SetViewUp(0, 0, 1)
        self.renderer.ResetCamera()
